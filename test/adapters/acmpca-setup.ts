import { onTestFinished } from 'vitest';
import { module } from '../../adapters/acmpca/module.ts';
import type { Identity, Issuer, IssuerContext, IssuerDeps, KeyType, SignRequest } from '../../src/issuer/issuer.ts';
import { createTags } from '../../src/mesh/tags.ts';
import { type Clock, systemClock } from '../../src/runtime/clock.ts';
import { requestFor } from '../conformance/issuer.ts';
import { createTestDeps, type TestDeps, type TestDepsOptions } from '../conformance/issuer-deps.ts';
import { type StrictAcmPca, type StrictAcmPcaOptions, startStrictAcmPca } from '../fakes/acmpca/strict-acmpca.ts';

export const CONTEXT: IssuerContext = { mesh: 'default', backend: 'acm-1' };

/** Quotas that no test of something else runs into. */
export const FAST = { acmpcaIssuesPerSecond: 1000, acmpcaGetsPerSecond: 3000 };
export const FAST_QUOTAS = {
  IssueCertificate: 1000,
  GetCertificate: 3000,
  DescribeCertificateAuthority: 1000,
  GetCertificateAuthorityCertificate: 1000,
};

/** Real time with short waits: sleeps take a tenth. For tests that are not about how long something takes. */
export const hurriedClock: Clock = {
  ...systemClock,
  sleep: (ms, signal) => systemClock.sleep(ms / 10, signal),
};

/** A conf with the key pair of the fake's user as secrets, and the deps that hold them. */
export function confOf(pca: StrictAcmPca, changes: object = {}): Record<string, unknown> {
  const awsCredentials = { accessKey: { secret: 'aws-key' }, accessKeySecret: { secret: 'aws-secret' } };
  return { arn: pca.ca.arn, endpoint: pca.endpoint, auth: { awsCredentials }, ...changes };
}

export type SystemDeps = TestDeps<IssuerDeps['clock']>;

export function depsOf(pca: StrictAcmPca, options: Partial<TestDepsOptions<IssuerDeps['clock']>> = {}): SystemDeps {
  const { accessKeyId, secretAccessKey } = pca.user;
  return createTestDeps<IssuerDeps['clock']>({
    clock: hurriedClock,
    ...options,
    secrets: { 'aws-key': accessKeyId, 'aws-secret': secretAccessKey, ...options.secrets },
    settings: { ...FAST, ...options.settings },
  });
}

export interface Bench {
  readonly pca: StrictAcmPca;
  readonly issuer: Issuer;
  readonly deps: SystemDeps;
}

export async function startFake(options: StrictAcmPcaOptions = {}): Promise<StrictAcmPca> {
  const pca = await startStrictAcmPca({ ...options, quotas: { ...FAST_QUOTAS, ...options.quotas } });
  onTestFinished(() => pca.close());
  return pca;
}

export function issuerOf(pca: StrictAcmPca, deps: SystemDeps, changes: object = {}): Issuer {
  const issuer = module.create(CONTEXT, module.parseConf(confOf(pca, changes), CONTEXT), deps);
  onTestFinished(() => issuer.close());
  return issuer;
}

/** The fake and an issuer on it. */
export async function startBench(
  options: StrictAcmPcaOptions = {},
  changes: object = {},
  depsOptions: Partial<TestDepsOptions<IssuerDeps['clock']>> = {},
): Promise<Bench> {
  const pca = await startFake(options);
  const deps = depsOf(pca, depsOptions);
  return { pca, deps, issuer: issuerOf(pca, deps, changes) };
}

const TAGS = createTags([['kuma.io/service', 'web']]);

export interface Wish {
  readonly keyType?: KeyType;
  readonly ttlSeconds?: number;
  readonly requestId?: string;
}

/** A request as the service makes it. Its CSR is a new one each time. */
export async function wish(
  issuer: Issuer,
  { keyType = 'EC-P256', ttlSeconds = 3600, requestId }: Wish = {},
): Promise<SignRequest> {
  const who = { mesh: 'default', dataplane: 'web-1', tags: TAGS };
  const uriSans = ['spiffe://default/web', 'kuma://kuma.io/service/web'];
  const identity: Identity = { ...who, uriSans, ...issuer.subject(who) };
  return requestFor(identity, keyType, ttlSeconds, requestId ?? 'request-1');
}

/** What a promise rejects with. */
export async function errorOf(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => new Error('it did not fail'),
    (error: unknown) => error,
  );
}
