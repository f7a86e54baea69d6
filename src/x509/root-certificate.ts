import { TAG } from './der-reader.ts';
import { bitString, der, explicit, octetString, sequence, smallInteger, time, unsignedInteger } from './der-writer.ts';
import { basicConstraints, certificateExtensions, extension, keyUsage, subjectAltName } from './extensions.ts';
import { keyIdOf } from './key-id.ts';
import type { KeyPair } from './key-pair.ts';
import { createName } from './name.ts';
import type { OidName } from './oids.ts';
import { signatureAlgorithmFor, signInThreadPool } from './signature-algorithm.ts';
import { X509Error } from './x509-error.ts';

export interface RootTemplate {
  readonly keyPair: KeyPair;
  /** Parts that are empty are left out; at least one must not be. */
  readonly subject: { readonly organization: string; readonly organizationalUnit: string; readonly commonName: string };
  /** `spiffe://<trust domain>` without a path; empty: no SAN. */
  readonly uriSan: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** Unsigned, big-endian, not zero (Kuma's own roots have 0, which some TLS libraries refuse). */
  readonly serialNumber: Buffer;
}

/**
 * Makes a self-signed root, DER, version 3: CA:TRUE (critical), KU keyCertSign + cRLSign (critical), SKI, SAN.
 * @throws X509Error `name-*`, `san-*`, `serial-number`, `time`, `validity`
 */
export async function createRootCertificate(template: RootTemplate): Promise<Buffer> {
  const { keyPair, subject, uriSan, notBefore, notAfter, serialNumber } = template;
  if (!(notBefore.getTime() < notAfter.getTime())) {
    throw new X509Error('validity', 'the certificate would end before it begins');
  }
  const parts: [OidName, string][] = [
    ['organization', subject.organization],
    ['organizationalUnit', subject.organizationalUnit],
    ['commonName', subject.commonName],
  ];
  const name = createName(parts.filter(([, text]) => text !== ''));
  const serial = unsignedInteger(serialNumber);
  if (!serialNumber.some((byte) => byte !== 0) || serial.length > 22) {
    throw new X509Error('serial-number', 'a serial number must be positive and have at most 20 octets');
  }
  const algorithm = signatureAlgorithmFor(keyPair.privateKey);
  const tbs = sequence(
    explicit(0, smallInteger(2)),
    serial,
    algorithm.identifier,
    name,
    sequence(time(notBefore), time(notAfter)),
    name,
    keyPair.spkiDer,
    certificateExtensions(
      extension('keyUsage', true, keyUsage('keyCertSign', 'cRLSign')),
      extension('basicConstraints', true, basicConstraints({ ca: true, pathLength: undefined })),
      extension('subjectKeyIdentifier', false, octetString(keyIdOf(keyPair.spkiDer))),
      ...(uriSan === ''
        ? []
        : [extension('subjectAltName', false, subjectAltName({ uriSans: [uriSan], dnsNames: [] }))]),
    ),
  );
  const signature = await signInThreadPool(algorithm, keyPair.privateKey, tbs);
  return der(TAG.sequence, tbs, algorithm.identifier, bitString(signature));
}
