import { afterAll } from 'vitest';
import { module } from '../../adapters/acmpca/module.ts';
import { encodePem } from '../../src/x509/pem.ts';
import { testIssuer } from '../conformance/issuer.ts';
import { type StrictAcmPca, type StrictAcmPcaOptions, startStrictAcmPca } from '../fakes/acmpca/strict-acmpca.ts';
import { confOf, depsOf, FAST_QUOTAS } from './acmpca-setup.ts';

const SETUPS: readonly {
  readonly name: string;
  readonly options: StrictAcmPcaOptions;
  readonly conf?: (pca: StrictAcmPca) => object;
}[] = [
  { name: 'acmpca with an EC root CA', options: {} },
  {
    name: 'acmpca with an RSA subordinate CA, a common name and a pinned root',
    options: { ca: { type: 'subordinate', keyType: 'RSA-2048' }, readyAfterMs: 30 },
    conf: (pca) => ({
      commonName: '{{ tag "kuma.io/service" }}.mesh',
      caCert: { inlineString: encodePem('CERTIFICATE', pca.ca.root) },
    }),
  },
  {
    name: 'acmpca with a P-384 CA in short-lived mode',
    options: { ca: { keyType: 'EC-P384', usageMode: 'SHORT_LIVED_CERTIFICATE' } },
  },
];

for (const { name, options, conf } of SETUPS) {
  // RSA keys of CAs take their time: one server serves all tests of a set-up.
  let started: Promise<StrictAcmPca> | undefined;
  afterAll(async () => (await started)?.close());
  testIssuer(
    name,
    async () => {
      started ??= startStrictAcmPca({ ...options, quotas: FAST_QUOTAS });
      const pca = await started;
      return { module, conf: confOf(pca, conf?.(pca)), deps: depsOf(pca) };
    },
    { tooLong: 'cut' },
  );
}
