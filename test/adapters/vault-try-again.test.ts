import { describe, expect, it } from 'vitest';
import type { Outcome } from '../../adapters/vault/failure.ts';
import { ConfigError } from '../../src/issuer/errors.ts';
import { type KeeperWorld, startKeeper } from '../fakes/token-world.ts';

const HOUR_MS = 3_600_000;
const refuse = (retryAfterMs?: number) => (): Outcome<never> => ({
  ok: false,
  failure: {
    ...{ kind: 'denied', message: 'refused', fix: 'none', status: 400 },
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  },
});

/** A login that was refused again and again: its next try is half a minute away. */
async function startRefused(login = refuse()): Promise<KeeperWorld> {
  const world = startKeeper({ logsIn: true, checkIntervalMs: 0 });
  world.login = login;
  for (let at = 0; at < 10; at += 1) {
    await world.keeper.current(world.signal);
    await world.pass(31_000);
  }
  await world.keeper.current(world.signal);
  world.login = undefined;
  return world;
}

describe('somebody who asks on purpose, after a login was refused', () => {
  it('gets the next try a second after the last one, where others still wait', async () => {
    const world = await startRefused();
    expect((await world.keeper.current(world.signal)).ok).toBe(false);
    const before = world.times('obtain').length;
    const trying = world.keeper.tryAgain(world.signal);
    await world.pass(999);
    expect(world.times('obtain').length).toBe(before);
    await world.pass(1);
    await trying;
    expect(await world.keeper.current(world.signal)).toEqual({ ok: true, value: 't1' });
    await world.close();
  });

  it('shares that try with all who ask at the same time', async () => {
    const world = await startRefused();
    const before = world.times('obtain').length;
    const trying = Array.from({ length: 5 }, () => world.keeper.tryAgain(world.signal));
    await world.pass(1_000);
    await Promise.all(trying);
    expect(world.times('obtain').length).toBe(before + 1);
    await world.close();
  });

  it('waits like everybody where Vault has said how long', async () => {
    const world = await startRefused(refuse(20_000));
    const before = world.times('obtain').length;
    await world.keeper.tryAgain(world.signal);
    expect((await world.keeper.current(world.signal)).ok).toBe(false);
    expect(world.times('obtain').length).toBe(before);
    await world.close();
  });

  it('costs nothing while there is a token', async () => {
    const world = startKeeper({ logsIn: true, checkIntervalMs: 0 });
    world.life = { ttlSeconds: 3600, renewable: false, type: 'service' };
    await world.keeper.current(world.signal);
    await world.keeper.tryAgain(world.signal);
    await world.pass(HOUR_MS / 4);
    expect(world.times('obtain').length).toBe(1);
    await world.close();
  });
});

it('an error that is thrown to many is a copy for each: what one adds to it, the others do not see', async () => {
  const world = startKeeper({ checkIntervalMs: 0 });
  world.stored = undefined;
  const ask = () => world.keeper.current(world.signal).catch((error: unknown) => error);
  const [one, other] = [await ask(), await ask()];
  expect(one).toBeInstanceOf(ConfigError);
  if (one instanceof ConfigError) Object.assign(one, { message: 'changed', retryAfterMs: HOUR_MS });
  expect(other).toMatchObject({ message: 'fromCp.auth.token: could not load data', fix: 'store it' });
  expect(await ask()).toMatchObject({ message: 'fromCp.auth.token: could not load data', retryAfterMs: undefined });
  world.stored = 't2';
  const trying = world.keeper.tryAgain(world.signal);
  await world.pass(1_000);
  await trying;
  expect(await world.keeper.current(world.signal)).toEqual({ ok: true, value: 't2' });
  await world.close();
});
