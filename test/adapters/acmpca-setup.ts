import { onTestFinished } from 'vitest';
import { module } from '../../adapters/acmpca/module.ts';
import type {
  Identity,
  IssuedCertificate,
  Issuer,
  IssuerContext,
  IssuerDeps,
  KeyType,
  SignRequest,
} from '../../src/issuer/issuer.ts';
import { createTags } from '../../src/mesh/tags.ts';
import { type Clock, systemClock } from '../../src/runtime/clock.ts';
import { live, requestFor } from '../conformance/issuer.ts';
import { createTestDeps, type TestDeps, type TestDepsOptions } from '../conformance/issuer-deps.ts';
import type { Operation, SeenCall } from '../fakes/acmpca/calls.ts';
import type { PolicyDocument } from '../fakes/acmpca/iam-policy.ts';
import {
  type Fault,
  type StrictAcmPca,
  type StrictAcmPcaOptions,
  startStrictAcmPca,
} from '../fakes/acmpca/strict-acmpca.ts';

export const CONTEXT: IssuerContext = { mesh: 'default', backend: 'acm-1' };

/** Quotas that no test of something else runs into. */
const FAST = { acmpcaIssuesPerSecond: 1000, acmpcaGetsPerSecond: 3000 };
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

/** Real time in which every second takes `1 / times` of one: for tests about waits that are measured. The fake may have it, too. */
export function fasterClock(times: number): Clock {
  return {
    ...systemClock,
    monotonicMs: () => systemClock.monotonicMs() * times,
    sleep: (ms, signal) => systemClock.sleep(ms / times, signal),
  };
}

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

/** The fake and an issuer on it. Changes of the conf may depend on the CA's root. */
export async function startBench(
  options: StrictAcmPcaOptions = {},
  changes: object | ((root: Buffer) => object) = {},
  depsOptions: Partial<TestDepsOptions<IssuerDeps['clock']>> = {},
): Promise<Bench> {
  const pca = await startFake(options);
  const deps = depsOf(pca, depsOptions);
  const changed = typeof changes === 'function' ? changes(pca.ca.root) : changes;
  return { pca, deps, issuer: issuerOf(pca, deps, changed) };
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

const AWS_JSON = { 'content-type': 'application/x-amz-json-1.1' };

/** An answer of AWS with this body. */
export function reply(body: string): Fault {
  return { status: 200, headers: AWS_JSON, body };
}

/** An exception as AWS sends it. */
export function exception(name: string, message = '', status = 400): Fault {
  return { status, headers: AWS_JSON, body: JSON.stringify({ __type: name, message }) };
}

/** The first `times` calls of an operation end so. */
export function faultOf(
  operation: Operation,
  fault: Fault,
  times = Number.POSITIVE_INFINITY,
): (call: SeenCall) => Fault | undefined {
  let left = times;
  return (call) => {
    if (call.operation !== operation || left <= 0) return undefined;
    left -= 1;
    return fault;
  };
}

/** A policy for these actions and no others. */
export function allow(...actions: Operation[]): readonly PolicyDocument[] {
  return [
    {
      Version: '2012-10-17',
      Statement: [{ Effect: 'Allow', Action: actions.map((action) => `acm-pca:${action}`), Resource: '*' }],
    },
  ];
}

export async function sign({ issuer }: Pick<Bench, 'issuer'>, changes: Wish = {}): Promise<IssuedCertificate> {
  return issuer.sign(await wish(issuer, changes), live());
}

export function callsOf(pca: StrictAcmPca, operation: Operation): number {
  return pca.counts(operation).calls;
}

export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await systemClock.sleep(5);
}
