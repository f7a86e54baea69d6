import { expect } from 'vitest';
import { createBuiltinIssuer } from '../../adapters/builtin/issuer.ts';
import { module } from '../../adapters/builtin/module.ts';
import type { IssuedCertificate, IssuerDeps } from '../../src/issuer/issuer.ts';
import { decodePem } from '../../src/x509/pem.ts';
import { live, requestFor } from '../conformance/issuer.ts';
import { createTestDeps, type TestDeps } from '../conformance/issuer-deps.ts';
import { verified } from '../conformance/renewer.ts';
import { IDENTITY } from '../support/identity.ts';

/** One builtin backend whose CA is quick to make, and steps of its generations. */
export const CONTEXT = { mesh: 'default', backend: 'ca-1' };
export const CERT = 'default.ca-builtin-cert-ca-1';
export const KEY = 'default.ca-builtin-key-ca-1';
export const GENERATIONS = 'default.ca-builtin-gens-ca-1';
export const EC = { caCert: { keyType: 'EC-P256' } };

export const create = (deps: IssuerDeps, conf: unknown = EC) =>
  createBuiltinIssuer(CONTEXT, module.parseConf(conf, CONTEXT), deps);
export type BuiltinIssuer = ReturnType<typeof create>;
export type Step = (issuer: BuiltinIssuer) => Promise<unknown>;

export async function madeDeps(): Promise<TestDeps> {
  const deps = createTestDeps();
  await create(deps).ensure(live());
  return deps;
}
/** Made once: to be copied. */
export const made = madeDeps();

export const issue = async (deps: IssuerDeps) => create(deps).sign(await requestFor(IDENTITY, 'EC-P256', 3600), live());
export const generationsOf = (deps: IssuerDeps) => create(deps).generations(live());
export const prepareNext: Step = (issuer) => issuer.prepareNext(live());
export const dropOthers: Step = (issuer) => issuer.dropOthers(live());
/** The newest generation signs. */
export const signWithNewest: Step = async (issuer) => {
  const { signing, others } = await issuer.generations(live());
  return issuer.signWith(others.at(-1) ?? signing, live());
};

export async function takeSteps(deps: IssuerDeps, ...steps: readonly Step[]): Promise<void> {
  for (const step of steps) await step(create(deps));
}

/** The pair that a Kuma control plane would find. */
export function rootForKuma({ stored }: TestDeps): Buffer | undefined {
  return decodePem(String(stored.get(CERT)))[0]?.der;
}

export function copyOf(deps: TestDeps): TestDeps {
  return createTestDeps({ secrets: Object.fromEntries(deps.stored), clock: deps.clock });
}

/** A new issuer signs, and the bundle that it tells verifies what it signed. */
export async function expectConsistent(deps: TestDeps): Promise<IssuedCertificate> {
  const issued = await issue(deps);
  const { roots } = await create(deps).trustBundle(live());
  expect(verified(issued, roots, deps.clock.now())).toBe(true);
  const { signing, others } = await generationsOf(deps);
  expect(issued.roots).toEqual([signing]);
  expect(roots).toEqual([signing, ...others]);
  return issued;
}

export function copyWithout(deps: TestDeps, ...names: readonly string[]): TestDeps {
  const copy = copyOf(deps);
  for (const name of names) copy.stored.delete(name);
  return copy;
}
