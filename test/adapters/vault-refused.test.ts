import { describe, expect, it, onTestFinished } from 'vitest';
import { IssuerDeniedError, IssuerUnavailableError } from '../../src/issuer/errors.ts';
import { live, requestFor } from '../conformance/issuer.ts';
import { createTestDeps } from '../conformance/issuer-deps.ts';
import { type Fault, startFakeVault } from '../fakes/fake-vault.ts';
import { confFor, createIssuer, GRANTS } from '../fakes/vault-backend.ts';
import { IDENTITY } from '../support/identity.ts';

const LOGIN = 'auth/approle/login';
const [SIGN] = GRANTS.sign;
const DENIED: Fault = { status: 403, body: JSON.stringify({ errors: ['permission denied'] }) };

/** A backend that logs in. Each login makes another token; the fake takes all that were not revoked. */
async function startWithLogins() {
  const deps = createTestDeps();
  const vault = await startFakeVault({ now: deps.clock.now });
  for (const grant of [GRANTS.sign, GRANTS.issue, GRANTS.readRole]) vault.grants.set(...grant);
  const world = {
    logins: 0,
    revokedUpTo: 0,
    /** In place of the fake's own answer to a call with a good token. */
    fault: (_path: string): Fault | undefined => undefined,
  };
  vault.fault = ({ path, headers }) => {
    if (path === LOGIN) {
      world.logins += 1;
      const auth = { client_token: `t-${world.logins}`, lease_duration: 3600, renewable: true, token_type: 'service' };
      return { status: 200, body: JSON.stringify({ auth }) };
    }
    const token = String(headers['x-vault-token'] ?? '');
    if (token === '') return undefined;
    if (Number(token.slice(2)) <= world.revokedUpTo) return DENIED;
    // The fake knows one token only.
    headers['x-vault-token'] = vault.token;
    return path === 'auth/token/revoke-self' ? { status: 204 } : world.fault(path);
  };
  const auth = { approle: { roleId: 'role', secretId: { inlineString: 'secret' } } };
  const issuer = createIssuer(confFor(vault, { auth }), deps);
  onTestFinished(async () => {
    await issuer.close();
    await vault.close();
  });
  const request = await requestFor(IDENTITY, 'EC-P256', 3600);
  const sign = () => issuer.sign(request, live());
  const issue = () => issuer.issueKeyPair({ identity: IDENTITY, ttlSeconds: 60, requestId: '1' }, live());
  const issuing = () => vault.seen.filter(({ path }) => /\/(sign|issue)\//.test(path)).length;
  await sign();
  deps.clock.advance(1_000);
  return Object.assign(world, { deps, vault, issuer, sign, issue, issuing });
}

describe('a call that vault answers with 403', () => {
  it('is made once more with the token of a new login: one login for all calls at the same time', async () => {
    const world = await startWithLogins();
    world.revokedUpTo = 1;
    const before = world.issuing();
    await Promise.all(Array.from({ length: 30 }, world.sign));
    expect(world.logins).toBe(2);
    expect(world.issuing() - before).toBe(60);
  });

  it('is denied when the fresh token is refused, too, and causes no login for a minute', async () => {
    const world = await startWithLogins();
    world.fault = (path) => (path === SIGN ? DENIED : undefined);
    const before = world.issuing();
    await expect(world.sign()).rejects.toThrow(IssuerDeniedError);
    expect([world.logins, world.issuing() - before]).toEqual([2, 2]);
    for (let second = 0; second < 50; second++) {
      world.deps.clock.advance(1_000);
      await expect(world.sign()).rejects.toThrow(IssuerDeniedError);
    }
    expect(world.logins).toBe(2);
    world.deps.clock.advance(20_000);
    await expect(world.sign()).rejects.toThrow(IssuerDeniedError);
    expect(world.logins).toBe(3);
  });

  it('a moment after a login waits until the next one may be: none of the callers is sent away', async () => {
    const world = await startWithLogins();
    world.revokedUpTo = 1;
    await world.sign();
    world.revokedUpTo = 2;
    let isDone = false;
    const signed = Promise.all(Array.from({ length: 30 }, world.sign)).finally(() => {
      isDone = true;
    });
    const startMs = world.deps.clock.monotonicMs();
    while (!isDone && world.deps.clock.monotonicMs() - startMs < 2_000) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      world.deps.clock.advance(100);
    }
    expect((await signed).length).toBe(30);
    expect(world.logins).toBe(3);
  });

  it.each(['sign', 'issue'] as const)('is never more than three calls of %s, whatever else breaks', async (call) => {
    const world = await startWithLogins();
    await world.issue();
    const answers: (Fault | 'reset')[] = ['reset', DENIED, 'reset', 'reset', 'reset'];
    world.fault = (path) => {
      if (!path.includes(`/${call}/`)) return undefined;
      const next = answers.shift();
      if (next !== 'reset') return next;
      world.vault.dropIdleConnections();
      return 'hang';
    };
    const before = world.issuing();
    await expect(world[call]()).rejects.toThrow(IssuerUnavailableError);
    expect(world.issuing() - before).toBe(3);
  });
});
