import { describe, expect, it, onTestFinished } from 'vitest';
import { live } from '../conformance/issuer.ts';
import { createTestDeps } from '../conformance/issuer-deps.ts';
import { startFakeVault } from '../fakes/fake-vault.ts';
import { confFor, createIssuer, GRANTS } from '../fakes/vault-backend.ts';

const TIMES = 1_000;
/** So many of them are used before they are closed. */
const USED_EVERY = 4;

const LOGIN = JSON.stringify({
  auth: { client_token: 'hvs.of-a-login', lease_duration: 3600, renewable: true, token_type: 'service' },
});

function resources(): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of process.getActiveResourcesInfo()) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}

describe('a vault backend that is configured anew a thousand times', () => {
  it.each([
    ['a given token', () => ({ token: { secret: 'vault-token' } })],
    ['a login', () => ({ approle: { roleId: 'role', secretId: { secret: 'vault-token' } } })],
  ] as const)('leaves no timer, no listener and no socket, with %s', async (what, auth) => {
    const deps = createTestDeps();
    const vault = await startFakeVault({ now: deps.clock.now });
    onTestFinished(vault.close);
    for (const grant of [GRANTS.sign, GRANTS.readRole]) vault.grants.set(...grant);
    vault.fault = ({ path }) => {
      if (path === 'auth/approle/login') return { status: 200, body: LOGIN.replace('hvs.of-a-login', vault.token) };
      return path === 'auth/token/revoke-self' ? { status: 204 } : undefined;
    };
    deps.stored.set('vault-token', Buffer.from(vault.token));
    let followers = 0;
    const secrets: typeof deps.secrets = {
      ...deps.secrets,
      onChange(listener) {
        followers += 1;
        const end = deps.secrets.onChange(listener);
        return () => {
          followers -= 1;
          end();
        };
      },
    };
    // The server of the test before may still be going.
    let before = resources();
    await expect
      .poll(() => {
        before = resources();
        return [before.TCPServerWrap, before.Timeout];
      })
      .toEqual([1, undefined]);

    for (let i = 0; i < TIMES; i++) {
      const issuer = createIssuer(confFor(vault, { auth: auth() }), { ...deps, secrets });
      if (i % USED_EVERY === 0) {
        await issuer.abilities(live());
        deps.clock.advance(1_000);
      }
      await issuer.close();
      await issuer.close();
    }

    expect([deps.clock.pending, followers]).toEqual([0, 0]);
    await expect.poll(() => vault.connections().open).toBe(0);
    await expect.poll(resources).toEqual(before);
    const counted = (path: string) => vault.seen.filter((one) => one.path === path).length;
    const logins = what === 'a login' ? TIMES / USED_EVERY : 0;
    expect([counted('auth/approle/login'), counted('auth/token/revoke-self')]).toEqual([logins, logins]);
  });
});
