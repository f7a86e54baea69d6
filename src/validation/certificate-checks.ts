import { CaError } from '../issuer/errors.ts';
import { parseCertificate } from '../x509/certificate.ts';
import { tryHandshake } from './handshake.ts';
import { lookAtChain, lookAtRootLife, lookAtTrust } from './look-at-chain.ts';
import { lookAtIssuing, lookAtLifetime, lookAtReading, lookAtRules, lookAtTime } from './look-at-leaf.ts';
import { lookAtSignature } from './look-at-signature.ts';
import { type Finding, failed, type Look, passed, skip, warned } from './run-checks.ts';
import type { TestCertificate } from './test-certificate.ts';

const conformFix = (what: string) => (test: TestCertificate) =>
  `${what}: adapters/${test.backend.type}/README.md shows how; then validate again`;

/** What a test certificate is looked at for, in order: everything that a proxy depends on. Names are stable; docs/checks.md lists them. */
export const CERTIFICATE_CHECKS: readonly Look<TestCertificate>[] = [
  { name: 'certificate.issued', needs: [], look: lookAtIssuing },
  { name: 'certificate.readable', needs: ['certificate.issued'], look: lookAtReading },
  {
    name: 'certificate.key-matches',
    needs: ['certificate.readable'],
    look: lookAtRules('key', {
      good: () => 'the certificate is for the key that was asked',
      message: 'the certificate is not for the key that was asked',
      fix: () => 'look for a cache or proxy between mesh-ca and the CA that gives one answer for another',
    }),
  },
  {
    name: 'certificate.names',
    needs: ['certificate.readable'],
    look: lookAtRules('names', {
      good: (test) => `its names are exactly those asked: ${namesOf(test).join(', ')}`,
      message: 'the names of the certificate are not exactly those that were asked',
      fix: conformFix('let the role, template or issuer keep the names of the request and add none'),
    }),
  },
  {
    name: 'certificate.common-name',
    needs: ['certificate.readable'],
    look: lookAtRules('common-name', {
      good: (test) => {
        const { commonName } = test.identity();
        return commonName === '' ? 'it has no common name, as asked' : `its common name is "${commonName}", as asked`;
      },
      message: 'the common name of the certificate is not the one that was asked',
      fix: conformFix(
        'let the role, template or issuer take the common name of the request, or set commonName in the conf to what it gives',
      ),
    }),
  },
  {
    name: 'certificate.usages',
    needs: ['certificate.readable'],
    look: lookAtRules('usages', {
      good: () => 'proxies may use it as server and as client, and not as a CA',
      message: 'proxies cannot use the certificate as server and as client',
      fix: conformFix(
        'let the role, template or issuer give digitalSignature, serverAuth and clientAuth, CA:FALSE, and no critical extension of its own',
      ),
    }),
  },
  { name: 'certificate.valid-now', needs: ['certificate.readable'], look: lookAtTime },
  { name: 'certificate.lifetime', needs: ['certificate.readable', 'certificate.valid-now'], look: lookAtLifetime },
  { name: 'certificate.signature', needs: ['certificate.readable'], look: lookAtSignature },
  { name: 'certificate.chain', needs: ['certificate.readable', 'certificate.signature'], look: lookAtChain },
  { name: 'certificate.root-trusted', needs: ['certificate.chain'], look: lookAtTrust },
  { name: 'certificate.root-lifetime', needs: ['certificate.chain'], look: lookAtRootLife },
  {
    name: 'certificate.handshake',
    needs: [
      'certificate.key-matches',
      'certificate.names',
      'certificate.usages',
      'certificate.valid-now',
      'certificate.root-trusted',
      'certificate.root-lifetime',
    ],
    look: lookAtHandshake,
  },
  {
    name: 'certificate.not-kept',
    needs: ['certificate.issued'],
    look: lookAtLeftovers,
  },
];

function namesOf(test: TestCertificate): readonly string[] {
  const { uriSans, dnsNames } = test.identity();
  return [...uriSans, ...dnsNames];
}

async function lookAtLeftovers(test: TestCertificate): Promise<Finding> {
  const stay = await test.leftovers().catch((error: unknown) => {
    if (error instanceof CaError) return error;
    throw error;
  });
  if (stay instanceof CaError) {
    return warned({
      message: 'what was made at the backend for it was not taken away in time',
      cause: stay.message,
      fix: 'nothing, if it is gone in a minute; else look whether the right to delete is there',
    });
  }
  if (stay === undefined) return skip('such a backend makes nothing beside the certificate that could stay behind');
  if (stay.length === 0) return passed('what was made at the backend for it has been taken away again');
  return warned({
    message: `${stay.length === 1 ? 'an object stays' : `${stay.length} objects stay`} behind at the backend: ${stay.slice(0, 3).join(', ')}`,
    cause: 'the backend did not delete what was made for finished certificates; mesh-ca goes on trying',
    fix: 'look whether the right to delete is there and whether a finalizer holds them back',
  });
}

async function lookAtHandshake(test: TestCertificate): Promise<Finding> {
  const { leaf, chain, roots } = await test.certificates();
  const { privateKeyDer } = await test.answer();
  if (privateKeyDer === undefined) throw new TypeError('a test certificate without its key');
  const told = await test.told().then(
    (bundle) => bundle.roots.map(parseCertificate),
    () => [],
  );
  const fault = await tryHandshake(
    {
      leaf,
      chain,
      roots: told.length > 0 ? told : roots,
      privateKeyDer,
      spiffeIds: test.identity().uriSans.filter((uri) => uri.startsWith('spiffe://')),
    },
    { clock: test.clock, signal: test.signal, timeoutMs: test.handshakeMs() },
  );
  if (fault === undefined) return passed('two test proxies with it talked to each other over TLS 1.3');
  return failed({
    message: 'two test proxies with it could not talk to each other over TLS 1.3',
    ...fault,
    fix: 'look at key usages, constraints and signatures of the CAs above it: openssl verify -show_chain tells more',
  });
}
