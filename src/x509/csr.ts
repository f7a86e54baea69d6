import { context, DerReader, TAG } from './der-reader.ts';
import { MAX_SANS_IN_CSR, NO_SANS, parseSubjectAltName, readExtensions, type SubjectAltNames } from './extensions.ts';
import { commonNameOfRequest, readName } from './name.ts';
import { oidName } from './oids.ts';
import { findSignatureAlgorithm, type SignatureAlgorithm, verifySignature } from './signature-algorithm.ts';
import { parseSubjectPublicKey, type SubjectPublicKey } from './subject-public-key.ts';
import { X509Error } from './x509-error.ts';

/** A certificate signing request (PKCS#10, RFC 2986), read but not yet proven: see {@link verifyCsrSignature}. */
export interface Csr {
  readonly der: Buffer;
  readonly publicKey: SubjectPublicKey;
  /** Empty when the subject has none. */
  readonly commonName: string;
  readonly subjectIsEmpty: boolean;
  readonly uriSans: readonly string[];
  readonly dnsNames: readonly string[];
  /** Asked names that are neither URI nor DNS. */
  readonly otherSanCount: number;
  /** What the signature covers: CertificationRequestInfo, DER. */
  readonly signedPart: Buffer;
  readonly signatureAlgorithm: SignatureAlgorithm;
  readonly signature: Buffer;
}

const MAX_BYTES = 16 * 1024;
const MAX_ATTRIBUTES = 16;

/**
 * Reads a request strictly. Unknown attributes (challengePassword...) are checked for their form and ignored, and so are requested
 * extensions other than the subject alternative name. Caps: 16 KiB, 16 attributes, 64 extensions, 256 names of at most 2048 characters.
 *
 * @throws X509Error with the rule that was broken
 */
export function parseCsr(der: Buffer): Csr {
  if (der.length > MAX_BYTES) throw new X509Error('csr-size', `the request is longer than ${MAX_BYTES} bytes`);
  const outer = new DerReader(der, 'the request');
  const request = outer.expect(TAG.sequence).inside();
  outer.finish();

  const info = request.expect(TAG.sequence).inside();
  const signedPart = request.element();
  if (info.smallInteger() !== 0)
    throw new X509Error('csr-version', 'the request does not have version 1 (the number 0)');
  const subject = readName(info, 'the subject');
  const publicKey = parseSubjectPublicKey(info.expect(TAG.sequence).element());
  info.expect(context(0, 'constructed'));
  const sans = readAttributes(info.inside('the attributes of the request'));
  info.finish();

  const signatureAlgorithm = findSignatureAlgorithm(request.expect(TAG.sequence).element());
  const signature = request.wholeBitString();
  request.finish();
  if (signatureAlgorithm === undefined || !signatureAlgorithm.allowedInCsr) {
    throw new X509Error(
      'signature-algorithm',
      'the request is not signed with ECDSA or RSA (PKCS#1 v1.5) and SHA-256, SHA-384 or SHA-512',
    );
  }
  const family = publicKey.type.startsWith('EC') ? 'ec' : 'rsa';
  if (!signatureAlgorithm.families.includes(family)) {
    throw new X509Error(
      'signature-algorithm',
      `the request's ${publicKey.type} key cannot make a signature of ${signatureAlgorithm.name}`,
    );
  }
  if (family === 'ec') checkEcdsaSignature(signature);

  return {
    der,
    publicKey,
    commonName: commonNameOfRequest(subject),
    subjectIsEmpty: subject.length === 0,
    uriSans: sans.uriSans,
    dnsNames: sans.dnsNames,
    otherSanCount: sans.otherSanCount,
    signedPart,
    signatureAlgorithm,
    signature,
  };
}

/** True when the request was signed by the private half of its key; false also when the key's numbers are no key. */
export function verifyCsrSignature(csr: Csr): boolean {
  try {
    return verifySignature(csr.signatureAlgorithm, csr.publicKey.keyObject(), csr.signedPart, csr.signature);
  } catch (error) {
    if (error instanceof X509Error) return false;
    throw error;
  }
}

/** The same answer, for EC keys about 30 % sooner on Node 20 (see `importKey` of subject-public-key.ts). For the hot path. */
export async function verifyCsrSignatureAsync(csr: Csr): Promise<boolean> {
  try {
    const key = await csr.publicKey.importKey();
    return verifySignature(csr.signatureAlgorithm, key, csr.signedPart, csr.signature);
  } catch (error) {
    if (error instanceof X509Error) return false;
    throw error;
  }
}

function readAttributes(attributes: DerReader): SubjectAltNames {
  let requested: DerReader | undefined;
  let count = 0;
  while (!attributes.atEnd) {
    if (++count > MAX_ATTRIBUTES) {
      throw new X509Error('attribute-count', `the request has more than ${MAX_ATTRIBUTES} attributes`);
    }
    const attribute = attributes.expect(TAG.sequence).inside();
    const type = attribute.oid();
    const values = attribute.expect(TAG.set).inside();
    attribute.finish();
    if (oidName(type) !== 'extensionRequest') {
      values.checkRest();
      continue;
    }
    if (requested !== undefined) {
      throw new X509Error('duplicate-attribute', 'the request holds the attribute extensionRequest twice');
    }
    requested = values;
  }
  return requested === undefined ? NO_SANS : readRequestedSans(requested);
}

function readRequestedSans(values: DerReader): SubjectAltNames {
  let sans: SubjectAltNames = NO_SANS;
  for (const { type, value } of readExtensions(values, 'the requested extensions')) {
    if (oidName(type) === 'subjectAltName') sans = parseSubjectAltName(value, MAX_SANS_IN_CSR);
    else new DerReader(value, 'a requested extension').checkRest();
  }
  if (!values.atEnd) throw new X509Error('attribute-values', 'the attribute extensionRequest has more than one value');
  return sans;
}

/** ECDSA-Sig-Value (RFC 3279, 2.2.3): two positive integers and nothing else. OpenSSL checks the same; other readers do not. */
function checkEcdsaSignature(signature: Buffer): void {
  const outer = new DerReader(signature, 'the ECDSA signature');
  const numbers = outer.expect(TAG.sequence).inside();
  outer.finish();
  for (let i = 0; i < 2; i++) {
    const number = numbers.integer();
    const first = number[0] as number;
    if (first >= 0x80 || (first === 0 && number.length === 1)) {
      throw new X509Error('signature-value', 'the ECDSA signature holds a number that is not positive');
    }
  }
  numbers.finish();
}
