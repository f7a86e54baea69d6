import { type KeyObject, randomBytes } from 'node:crypto';
import { type Certificate, parseCertificate } from '../../../src/x509/certificate.ts';
import { type Csr, parseCsr, verifyCsrSignature } from '../../../src/x509/csr.ts';
import {
  bitString,
  explicit,
  octetString,
  oid,
  sequence,
  smallInteger,
  time,
  unsignedInteger,
} from '../../../src/x509/der-writer.ts';
import {
  authorityKeyId,
  basicConstraints,
  certificateExtensions,
  extension,
  type KeyUsage,
  keyUsage,
  subjectAltName,
} from '../../../src/x509/extensions.ts';
import { keyIdOf } from '../../../src/x509/key-id.ts';
import { loadPrivateKey } from '../../../src/x509/key-pair.ts';
import { createName, EMPTY_NAME } from '../../../src/x509/name.ts';
import type { OidName } from '../../../src/x509/oids.ts';
import { decodePem, encodePem } from '../../../src/x509/pem.ts';
import { signatureAlgorithmFor, signSync } from '../../../src/x509/signature-algorithm.ts';
import { makeCa } from '../../conformance/make-ca.ts';
import type { CertificateRequestSpec } from './certificate-request.ts';

/** An intermediate of EC P-256 under a root, as the Secret of a CA issuer holds them. */
export interface IssuingCa {
  readonly rootPem: string;
  readonly intermediatePem: string;
  /**
   * The leaf, PEM. `spkiDer`: another key than the request's.
   * @throws Error saying what is wrong with the request
   */
  sign(spec: CertificateRequestSpec, now: Date, spkiDer?: Buffer): string;
}

/** Days from TEST_START: long before, so that the real time lies inside as well. */
const LONG_AGO = -3650;
const EXPIRED = -3000;

export async function createIssuingCa(life: 'valid' | 'expired' = 'valid'): Promise<IssuingCa> {
  const span = { fromDay: LONG_AGO, toDay: life === 'valid' ? 3650 : EXPIRED };
  const root = await makeCa({ name: 'cert-manager test root', ...span });
  const intermediate = await makeCa({ name: 'cert-manager test intermediate', issuer: root, ...span });
  const certificate = parseCertificate(decodePem(intermediate.certPem)[0]?.der ?? Buffer.alloc(0));
  const privateKey = loadPrivateKey(intermediate.keyPem);
  return {
    rootPem: root.certPem,
    intermediatePem: intermediate.certPem,
    sign: (spec, now, spkiDer) => encodePem('CERTIFICATE', signLeaf({ certificate, privateKey }, spec, now, spkiDer)),
  };
}

/** cert-manager's default (`DefaultCertificateDuration`): 90 days. */
const DEFAULT_DURATION_MS = 90 * 24 * 3600 * 1000;
const VERSION_3 = explicit(0, smallInteger(2));

/**
 * As cert-manager's CA issuer builds its template (pkg/util/pki): subject and SANs of the CSR as they are, an empty subject makes the SANs
 * critical, CA:FALSE, usages from `spec.usages` alone, valid from now on without any backdating, however long the CA lives.
 */
function signLeaf(
  ca: { readonly certificate: Certificate; readonly privateKey: KeyObject },
  spec: CertificateRequestSpec,
  now: Date,
  otherKey?: Buffer,
): Buffer {
  const csr = readCsr(spec.request);
  const spkiDer = otherKey ?? csr.publicKey.spkiDer;
  const algorithm = signatureAlgorithmFor(ca.privateKey);
  const notAfter = new Date(
    now.getTime() + (spec.duration === undefined ? DEFAULT_DURATION_MS : parseDuration(spec.duration)),
  );
  const { usages, extended } = splitUsages(spec.usages ?? ['digital signature', 'key encipherment']);
  const sans = csr.uriSans.length + csr.dnsNames.length;
  const tbs = sequence(
    VERSION_3,
    unsignedInteger(Buffer.concat([Buffer.of(1), randomBytes(15)])),
    algorithm.identifier,
    ca.certificate.subjectDer,
    sequence(time(now), time(notAfter)),
    csr.commonName === '' ? EMPTY_NAME : createName([['commonName', csr.commonName]]),
    spkiDer,
    certificateExtensions(
      ...(usages.length === 0 ? [] : [extension('keyUsage', true, keyUsage(...usages))]),
      ...(extended.length === 0 ? [] : [extension('extKeyUsage', false, sequence(...extended.map(oid)))]),
      extension('basicConstraints', true, basicConstraints({ ca: spec.isCA === true, pathLength: undefined })),
      extension('subjectKeyIdentifier', false, octetString(keyIdOf(spkiDer))),
      extension(
        'authorityKeyIdentifier',
        false,
        authorityKeyId(ca.certificate.subjectKeyId ?? keyIdOf(ca.certificate.spkiDer)),
      ),
      ...(sans === 0 ? [] : [extension('subjectAltName', csr.subjectIsEmpty, subjectAltName(csr))]),
    ),
  );
  return sequence(tbs, algorithm.identifier, bitString(signSync(algorithm, ca.privateKey, tbs)));
}

function readCsr(base64: string): Csr {
  const [block] = decodePem(Buffer.from(base64, 'base64').toString('utf8'));
  if (block?.label !== 'CERTIFICATE REQUEST') throw new Error('error decoding certificate request PEM block');
  const csr = parseCsr(block.der);
  if (!verifyCsrSignature(csr)) throw new Error('x509: ECDSA verification failure');
  return csr;
}

const USAGES: Readonly<Record<string, KeyUsage>> = {
  signing: 'digitalSignature',
  'digital signature': 'digitalSignature',
  'content commitment': 'nonRepudiation',
  'key encipherment': 'keyEncipherment',
  'key agreement': 'keyAgreement',
  'data encipherment': 'dataEncipherment',
  'cert sign': 'keyCertSign',
  'crl sign': 'cRLSign',
  'encipher only': 'encipherOnly',
  'decipher only': 'decipherOnly',
};
const EXTENDED_USAGES: Readonly<Record<string, OidName>> = {
  any: 'anyExtendedKeyUsage',
  'server auth': 'serverAuth',
  'client auth': 'clientAuth',
  'code signing': 'codeSigning',
  'email protection': 'emailProtection',
  timestamping: 'timeStamping',
  'ocsp signing': 'ocspSigning',
};

function splitUsages(names: readonly string[]): { usages: KeyUsage[]; extended: OidName[] } {
  const usages: KeyUsage[] = [];
  const extended: OidName[] = [];
  for (const name of names) {
    const usage = USAGES[name];
    const other = EXTENDED_USAGES[name];
    if (usage !== undefined) usages.push(usage);
    else if (other !== undefined) extended.push(other);
    else throw new Error(`unknown key usages: [${name}]`);
  }
  return { usages, extended };
}

const UNITS_MS: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 };

/** A Go duration: `720h0m0s`, `90m`, `1.5h`. */
export function parseDuration(text: string): number {
  if (!/^(\d+(\.\d+)?(h|ms|m|s))+$/.test(text)) throw new Error(`time: invalid duration ${JSON.stringify(text)}`);
  let ms = 0;
  for (const [, number = '', unit = ''] of text.matchAll(/(\d+(?:\.\d+)?)(h|ms|m|s)/g)) {
    ms += Number(number) * (UNITS_MS[unit] ?? 0);
  }
  return ms;
}
