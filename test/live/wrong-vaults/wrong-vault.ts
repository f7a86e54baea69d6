import { expect, it } from 'vitest';
import { z } from 'zod';
import type { StartedOpenBao } from '../../../testcontainers/openbao.ts';
import type { VaultPkiOptions } from '../../../testcontainers/vault-pki.ts';
import type { TestApp } from '../../support/test-app.ts';
import { type FollowOptions, followFix } from './follow-fix.ts';
import type { Stage } from './stage.ts';
import { BACKEND, createWorld, type World } from './world.ts';

/** One way in which a Vault can be wrong, what has to be said of it, and how what is said is done. */
export interface WrongVault {
  readonly name: string;
  /** Another server than the shared one. */
  server?(): StartedOpenBao;
  /** Another mesh-ca than the shared one. */
  app?(): TestApp;
  readonly pki?: VaultPkiOptions;
  readonly namespace?: string;
  spoil(world: World): Promise<unknown> | unknown;
  /** The one check that speaks, without `vault.` where it is the adapter's. */
  readonly check: string;
  /** Those that say the same of the test certificate. */
  readonly also?: readonly string[];
  /** Default `failed`. `warning`: the Mesh is stored all the same. */
  readonly status?: 'warning';
  readonly says: RegExp;
  /** The key of `conf` to blame. Absent: none. */
  readonly field?: string;
  /** Of the refusal. Default `ERR_BACKEND_INVALID`. */
  readonly code?: string;
  /** It may pass without anybody changing anything. */
  readonly retry?: true;
  follow(fix: string, world: World): Promise<unknown>;
  /** Vault asked to wait, and that is obeyed by a data plane that was refused, though all is well again. */
  readonly keepsWaiting?: true;
}

/** The fix is a command or a rule for a policy: it is carried out as it stands. */
export const carryOut =
  (options: (world: World) => FollowOptions | Promise<FollowOptions> = () => ({})): WrongVault['follow'] =>
  async (fix, world) =>
    followFix(fix, world, await options(world));

/** The fix is an advice in words, these: `act` is what an operator does who reads them. */
export const inWords =
  (words: RegExp, act: (world: World) => unknown): WrongVault['follow'] =>
  async (fix, world) => {
    expect(fix).toMatch(words);
    await act(world);
  };

const checkSchema = z.object({
  name: z.string(),
  status: z.enum(['passed', 'warning', 'failed', 'skipped']),
  durationMs: z.number().nonnegative(),
  message: z.string().min(1),
  cause: z.string().optional(),
  fix: z.string().optional(),
});
const validationSchema = z.object({
  ok: z.boolean(),
  backends: z.array(z.object({ backend: z.string(), ok: z.boolean(), checks: z.array(checkSchema) })).length(1),
});
const refusalSchema = z.object({
  code: z.string(),
  retry: z.boolean(),
  invalid_parameters: z.array(z.object({ field: z.string(), reason: z.string() })),
  checks: z.array(checkSchema).optional(),
});

export interface Validation {
  readonly ok: boolean;
  readonly text: string;
  readonly checks: readonly z.output<typeof checkSchema>[];
  /** Names of the checks that ended so. */
  named(status: 'failed' | 'warning'): readonly string[];
}

/** Proves the backend as it is stored. */
export async function validate({ app, mesh }: World): Promise<Validation> {
  const { status, json, text } = await app.request('POST', `/meshes/${mesh}/_backends/${BACKEND}/_validate`);
  expect([status, text]).toEqual([200, expect.any(String)]);
  const { ok, backends } = validationSchema.parse(json);
  const checks = backends.flatMap((backend) => backend.checks);
  return {
    ...{ ok, text, checks },
    named: (wanted) => checks.flatMap((check) => (check.status === wanted ? [check.name] : [])),
  };
}

const issue = ({ app, mesh }: World) =>
  app.request('POST', `/meshes/${mesh}/dataplanes/web-1/_certificate`, { tags: { 'kuma.io/service': 'web' } });

let worlds = 0;

/** Each case: refused (or warned of) on PUT, told by the right check, cured by its fix, serving again at once, then stored without a word. */
export function itTellsAndCures(cases: readonly WrongVault[], shared: Stage): void {
  for (const wrong of cases) it(`${wrong.name}: ${wrong.check}`, () => tellAndCure(wrong, shared));
}

async function tellAndCure(wrong: WrongVault, shared: Stage): Promise<void> {
  worlds += 1;
  const server = wrong.server?.() ?? shared.server();
  const app = wrong.app?.() ?? shared.app();
  const { pki, namespace } = wrong;
  const options = { ...(pki && { pki }), ...(namespace !== undefined && { namespace }) };
  const world = await createWorld({ server, app, name: `wrong-${worlds}`, ...options });
  await wrong.spoil(world);
  const check = wrong.check.includes('.') ? wrong.check : `vault.${wrong.check}`;

  const before = await app.ok('GET', `/meshes/${world.mesh}`);
  const put = await world.store(false);
  if (wrong.status === 'warning') {
    expect([put.status, put.text]).toEqual([200, expect.stringContaining(check)]);
  } else {
    expect([put.status, put.text]).toEqual([400, expect.any(String)]);
    const refusal = refusalSchema.parse(put.json);
    const { code = 'ERR_BACKEND_INVALID', field, retry = false } = wrong;
    const at = `mtls.backends[0].conf${field === undefined ? '' : `.${field}`}`;
    expect([refusal.code, refusal.invalid_parameters.map((one) => one.field), refusal.retry]).toEqual([
      code,
      [at],
      retry,
    ]);
    if (code === 'ERR_BACKEND_INVALID') expect(refusal.checks?.map(({ name }) => name)).toEqual([check]);
    const after = await app.ok('GET', `/meshes/${world.mesh}`);
    expect([after.json.mtls, after.json.modificationTime]).toEqual([undefined, before.json.modificationTime]);
  }

  expect((await world.store(true)).status).toBe(200);
  const ill = await validate(world);
  const status = wrong.status ?? 'failed';
  expect([ill.named(status), ill.ok]).toEqual([[check, ...(wrong.also ?? [])], status === 'warning']);
  const told = ill.checks.find(({ name }) => name === check);
  expect(told?.message).toMatch(wrong.says);
  for (const text of [put.text, ill.text, app.log.join('')]) expect(text).not.toContain(world.token);

  // Fails or not: that of a moment ago must not stand in the way when all is well again.
  await issue(world);

  await wrong.follow(told?.fix ?? '', world);
  expect((await world.store(true)).status).toBe(200);
  const well = await validate(world);
  expect([well.named('failed'), well.ok]).toEqual([[], true]);
  expect(well.checks.find(({ name }) => name === check)).toMatchObject({ status: 'passed' });
  expect((await issue(world)).status).toBe(wrong.keepsWaiting ? 429 : 201);
  const stored = await world.store(false);
  expect([stored.status, stored.text]).toEqual([200, expect.not.stringContaining(check)]);
}
