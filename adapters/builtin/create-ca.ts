import type { IssuerContext, IssuerDeps } from '../../src/issuer/issuer.ts';
import { parseCertificate } from '../../src/x509/certificate.ts';
import { generateKeyPair } from '../../src/x509/key-pair.ts';
import { createRootCertificate } from '../../src/x509/root-certificate.ts';
import type { CaKeyPair } from '../shared/in-process-ca.ts';
import { randomSerialNumber } from '../shared/serial-number.ts';
import type { BuiltinConf } from './config.ts';

const BACKDATE_MS = 10_000;

/**
 * A new root, as Kuma makes it: O=Kuma, OU=Mesh, CN=mesh, URI SAN `spiffe://<mesh>`, keyCertSign and cRLSign, CA. On purpose unlike Kuma's,
 * its serial number is random and not 0 (RFC 5280, 4.1.2.2: positive; unique for an issuer name that two backends and all generations of a mesh
 * share: key identifiers tell these apart, 4.2.1.1).
 */
export async function createCa(
  { mesh }: IssuerContext,
  { caCert }: BuiltinConf,
  { clock, random }: Pick<IssuerDeps, 'clock' | 'random'>,
): Promise<CaKeyPair> {
  const keyPair = await generateKeyPair(caCert.keyType);
  const nowMs = clock.now().getTime();
  const der = await createRootCertificate({
    keyPair,
    subject: { organization: 'Kuma', organizationalUnit: 'Mesh', commonName: mesh },
    uriSan: `spiffe://${mesh}`,
    notBefore: new Date(nowMs - BACKDATE_MS),
    notAfter: new Date(nowMs + caCert.expirationMs),
    serialNumber: randomSerialNumber(random),
  });
  return { path: [parseCertificate(der)], privateKey: keyPair.privateKey };
}
