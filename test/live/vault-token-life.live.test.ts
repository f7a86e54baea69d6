import { readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, it, type TestContext } from 'vitest';
import { IssuerDeniedError } from '../../src/issuer/errors.ts';
import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { type StartedOpenBao, startOpenBao } from '../../testcontainers/openbao.ts';
import { pollUntil } from '../../testcontainers/server-process.ts';
import { createToken, setUpPki } from '../../testcontainers/vault-pki.ts';
import { live, requestFor } from '../conformance/issuer.ts';
import { createTestDeps } from '../conformance/issuer-deps.ts';
import { confFor, createIssuer } from '../fakes/vault-backend.ts';
import { IDENTITY } from '../support/identity.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';

const POLICY = 'kmesh-default-dataplane-proxies-sign';
/** Nearly twice the life of the tokens below: two renewals, or two tokens more. */
const RUN_MS = 7_500;

let bao: StartedOpenBao;
beforeAll(async () => {
  bao = await startOpenBao({ print: (line) => void process.stdout.write(`${line}\n`) });
  await setUpPki(bao, { policy: 'sign', roleFile: 'role-dataplane-proxies-sign.json' });
  await bao.must('POST', 'sys/auth/approle', { type: 'approle' });
});
afterAll(() => bao?.close());

interface Backend {
  sign(): Promise<unknown>;
  /** Signs all the time; how many certificates there were. Rejects with the first failure. */
  signFor(ms: number): Promise<number>;
  close(): Promise<void>;
}

/** The tests run at the same time, so each has what ends with it from its own context. */
function startBackend(
  { onTestFinished }: TestContext,
  auth: object,
  deps: IssuerDeps = createTestDeps({ clock: systemClock }),
  address = bao.address,
): Backend {
  const issuer = createIssuer(confFor({ address, token: '' }, { auth }), deps);
  onTestFinished(() => issuer.close());
  const request = requestFor(IDENTITY, 'EC-P256', 600);
  const sign = async () => issuer.sign(await request, live());
  return {
    sign,
    async signFor(ms) {
      let signed = 0;
      for (const endMs = performance.now() + ms; performance.now() < endMs; signed++) {
        await sign();
        await sleep(100);
      }
      return signed;
    },
    close: issuer.close,
  };
}

async function makeAppRole(name: string, settings: Readonly<Record<string, unknown>>): Promise<object> {
  await bao.must('POST', `auth/approle/role/${name}`, { token_policies: [POLICY], ...settings });
  const roleId = dataOf(await bao.must('GET', `auth/approle/role/${name}/role-id`)).role_id;
  const secretId = dataOf(await bao.must('POST', `auth/approle/role/${name}/secret-id`)).secret_id;
  return { approle: { roleId, secretId: { inlineString: secretId } } };
}

function dataOf(body: unknown): Record<string, unknown> {
  return Object(Object(body).data);
}

/** Accessors of the tokens of one AppRole that are alive. */
async function livingTokens(role: string): Promise<string[]> {
  const keys = dataOf(await bao.must('LIST', 'auth/token/accessors')).keys;
  const living: string[] = [];
  for (const accessor of Array.isArray(keys) ? keys : []) {
    const reply = await bao.request('POST', 'auth/token/lookup-accessor', { accessor });
    if (Object(dataOf(reply.body).meta).role_name === role) living.push(String(accessor));
  }
  return living;
}

const inline = (token: string) => ({ token: { inlineString: token } });

describe('the life of a token of a real vault', () => {
  for (const [what, life] of [
    ['a renewable token of a short life is renewed', { ttl: '4s' }],
    ['a periodic token is renewed', { period: '4s' }],
  ] as const) {
    it.concurrent(`${what}, and every certificate is signed`, async (context) => {
      const token = await createToken(bao, [POLICY], life);
      context.expect(await startBackend(context, inline(token)).signFor(RUN_MS)).toBeGreaterThan(10);
    });
  }

  it.concurrent('a token that cannot be renewed is replaced by the one that an agent puts into its file', async (context) => {
    const file = join(tmpdir(), `mesh-ca-token-${process.pid}`);
    const make = () => createToken(bao, [POLICY], { ttl: '4s', renewable: false });
    await writeFile(file, await make(), { mode: 0o600 });
    context.onTestFinished(() => rm(file, { force: true }));
    const deps: IssuerDeps = {
      ...createTestDeps({ clock: systemClock, settings: { vaultTokenChangeCheckIntervalMs: 500 } }),
      load: () => readFile(file),
    };
    const agent = async () => {
      for (let round = 0; round < 3; round++) {
        await sleep(2_500);
        await writeFile(file, await make());
      }
    };
    const backend = startBackend(context, { token: { file } }, deps);
    const [signed] = await Promise.all([backend.signFor(RUN_MS), agent()]);
    context.expect(signed).toBeGreaterThan(10);
  });

  it.concurrent('a login token that met its maximum is replaced without a gap, and none outlives the backend', async (context) => {
    const backend = startBackend(context, await makeAppRole('short', { token_ttl: '3s', token_max_ttl: '5s' }));
    context.expect(await backend.signFor(RUN_MS)).toBeGreaterThan(10);
    await backend.close();
    await pollUntil(6_000, async () => (await livingTokens('short')).length === 0);
  });

  it.concurrent('a batch token of a login is replaced before its end', async (context) => {
    const backend = startBackend(context, await makeAppRole('batch', { token_ttl: '4s', token_type: 'batch' }));
    context.expect(await backend.signFor(RUN_MS)).toBeGreaterThan(10);
  });

  it.concurrent('a token that may not look itself up is used as it is', async (context) => {
    const token = await createToken(bao, [POLICY], { no_default_policy: true });
    context.expect(await startBackend(context, inline(token)).signFor(2_500)).toBeGreaterThan(2);
  });

  it.concurrent('a revoked token fails clearly, until another one is stored', async (context) => {
    const { expect } = context;
    const first = await createToken(bao, [POLICY]);
    const deps = createTestDeps({ clock: systemClock, secrets: { 'vault-token': first } });
    const backend = startBackend(context, { token: { secret: 'vault-token' } }, deps);
    await backend.sign();
    await bao.must('POST', 'auth/token/revoke', { token: first });
    const error = await backend.sign().catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(IssuerDeniedError);
    expect(String(error)).not.toContain(first);
    deps.stored.set('vault-token', Buffer.from(await createToken(bao, [POLICY])));
    deps.tellSecretsChanged();
    await pollUntil(3_000, async () => (await backend.sign()) !== undefined);
  });

  it.concurrent('a bad token that is stored leaves the good one in use', async (context) => {
    const good = await createToken(bao, [POLICY]);
    const deps = createTestDeps({ clock: systemClock, secrets: { 'vault-token': good } });
    const backend = startBackend(context, { token: { secret: 'vault-token' } }, deps);
    await backend.sign();
    deps.stored.set('vault-token', Buffer.from('hvs.0123456789abcdefghijklmnop'));
    deps.tellSecretsChanged();
    context.expect(await backend.signFor(2_000)).toBeGreaterThan(2);
  });

  it.concurrent('a login token that is revoked costs the caller nothing, and the last is revoked at the end', async (context) => {
    const { expect } = context;
    const backend = startBackend(context, await makeAppRole('long', { token_ttl: '1h' }));
    await backend.sign();
    for (let round = 0; round < 2; round++) {
      const [accessor] = await livingTokens('long');
      await bao.must('POST', 'auth/token/revoke-accessor', { accessor });
      await sleep(1_100);
      await Promise.all(Array.from({ length: 8 }, backend.sign));
      expect((await livingTokens('long')).length).toBe(1);
    }
    await backend.close();
    expect(await livingTokens('long')).toEqual([]);
  });

  it.concurrent('nothing is sent after the end, and no connection stays', async (context) => {
    const token = await createToken(bao, [POLICY], { ttl: '3s' });
    const proxy = await startTcpProxy({ host: '127.0.0.1', port: Number(new URL(bao.address).port) });
    context.onTestFinished(proxy.close);
    const backend = startBackend(context, inline(token), undefined, `http://127.0.0.1:${proxy.port}`);
    await backend.signFor(1_500);
    await backend.close();
    await pollUntil(2_000, async () => proxy.counters().open === 0);
    const before = proxy.counters();
    await sleep(3_000);
    context.expect(proxy.counters()).toEqual(before);
  });
});
