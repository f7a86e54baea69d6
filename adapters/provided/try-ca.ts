import type { Violation } from '../../src/issuer/errors.ts';
import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import { parseCertificate } from '../../src/x509/certificate.ts';
import { verifyChain } from '../../src/x509/chain.ts';
import { generateKeyPair } from '../../src/x509/key-pair.ts';
import { X509Error } from '../../src/x509/x509-error.ts';
import { type CaKeyPair, createInProcessCa } from '../shared/in-process-ca.ts';

const TRIAL_SECONDS = 60;

/**
 * Signs a certificate that is thrown away, and verifies it as a proxy would: the last word after all named rules, for what they do not
 * know (name constraints, extended key usages of a CA, a key that cannot sign).
 */
export async function tryCa(mesh: string, ca: CaKeyPair, deps: IssuerDeps, renew: string): Promise<Violation[]> {
  const { spkiDer } = await generateKeyPair('EC-P256');
  try {
    const issued = await createInProcessCa(ca, deps, renew).sign({
      spkiDer,
      // The mesh's own trust domain: a CA may be constrained to it.
      identity: {
        mesh,
        dataplane: 'trial',
        tags: new Map(),
        uriSans: [`spiffe://${mesh}/trial`],
        dnsNames: [],
        commonName: '',
      },
      ttlSeconds: TRIAL_SECONDS,
    });
    const [leaf, ...rest] = [issued.leaf, ...issued.chain].map(parseCertificate);
    if (leaf === undefined) return [];
    const verdict = verifyChain({ leaf, chain: rest, roots: issued.roots.map(parseCertificate), at: deps.clock.now() });
    if (verdict.ok) return [];
    return [{ field: 'cert', message: `a certificate signed by this CA would be refused: ${verdict.reason}` }];
  } catch (error) {
    if (!(error instanceof X509Error)) throw error;
    return [{ field: 'key', message: `cannot sign certificates: ${error.message}` }];
  }
}
