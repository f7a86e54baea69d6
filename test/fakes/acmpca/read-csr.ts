import { type Csr, parseCsr, verifyCsrSignature } from '../../../src/x509/csr.ts';
import { context, DerReader, TAG } from '../../../src/x509/der-reader.ts';
import { extension, readExtensions } from '../../../src/x509/extensions.ts';
import { oidName } from '../../../src/x509/oids.ts';
import { decodePem } from '../../../src/x509/pem.ts';
import { X509Error } from '../../../src/x509/x509-error.ts';
import { AwsError, constraintError } from './aws-error.ts';

export interface ReadCsr {
  readonly csr: Csr;
  /** The Name, DER, as it stands in the request. */
  readonly subjectDer: Buffer;
  /** The Extension with the subject alternative names, DER, as it stands in the request. */
  readonly sans: Buffer | undefined;
}

const MAX_BYTES = 32_768;

/** `Csr` of IssueCertificate: PEM, in base64. @throws AwsError MalformedCSRException */
export function readCsr(value: unknown): ReadCsr {
  if (typeof value !== 'string') throw constraintError(value, 'csr', 'Member must not be null');
  const pem = Buffer.from(value, 'base64');
  if (pem.length < 1 || pem.length > MAX_BYTES) {
    throw constraintError('...', 'csr', `Member must have length less than or equal to ${MAX_BYTES}`);
  }
  try {
    const [block, ...more] = decodePem(pem.toString('latin1'));
    if (block?.label !== 'CERTIFICATE REQUEST' || more.length > 0) throw malformed('it is not one PEM block');
    const csr = parseCsr(block.der);
    if (!verifyCsrSignature(csr)) throw malformed('its signature does not fit its key');
    const parts = readParts(csr);
    // "A CSR must provide either a subject name or a subject alternative name or the request will be rejected."
    if (csr.subjectIsEmpty && parts.sans === undefined)
      throw malformed('it has neither a subject nor alternative names');
    return { csr, ...parts };
  } catch (error) {
    throw error instanceof X509Error ? malformed(error.message) : error;
  }
}

function malformed(why: string): AwsError {
  return new AwsError('MalformedCSRException', `The certificate signing request is invalid: ${why}`);
}

/** What is copied byte for byte. `parseCsr` has checked the form. */
function readParts(csr: Csr): Pick<ReadCsr, 'subjectDer' | 'sans'> {
  const info = new DerReader(csr.signedPart, 'the request').expect(TAG.sequence).inside();
  info.smallInteger();
  const subjectDer = info.next().element();
  info.next();
  const attributes = info.expect(context(0, 'constructed')).inside();
  while (!attributes.atEnd) {
    const attribute = attributes.next().inside();
    if (oidName(attribute.oid()) !== 'extensionRequest') continue;
    const found = readExtensions(attribute.next().inside(), 'the requested extensions').find(
      ({ type }) => oidName(type) === 'subjectAltName',
    );
    if (found !== undefined) return { subjectDer, sans: extension('subjectAltName', found.critical, found.value) };
  }
  return { subjectDer, sans: undefined };
}
