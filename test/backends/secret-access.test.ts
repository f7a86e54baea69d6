import { describe, expect, it, onTestFinished } from 'vitest';
import { createSecretAccess } from '../../src/backends/store-secrets.ts';
import { createUnstoredSecrets } from '../../src/backends/unstored-secrets.ts';
import { NotFoundError } from '../../src/issuer/errors.ts';
import type { SecretAccess } from '../../src/issuer/issuer.ts';
import { createMemoryStore } from '../../src/store/memory/memory-store.ts';
import { createFakeClock, TEST_START } from '../conformance/issuer-deps.ts';

const secretKey = (name: string) => ({ type: 'Secret', mesh: 'm', name });
const text = async (access: SecretAccess, name: string) => (await access.read(name))?.toString();
const bytes = (data: string) => Buffer.from(data);
const pair = (...entries: [string, string][]) => new Map(entries.map(([name, data]) => [name, bytes(data)]));

async function start({ withMesh = true } = {}) {
  const store = createMemoryStore({ clock: createFakeClock(TEST_START) });
  onTestFinished(() => store.close());
  if (withMesh) await store.putResource({ type: 'Mesh', mesh: '', name: 'm', body: '{}' });
  const stored = createSecretAccess(store, 'm');
  return { store, stored, unstored: createUnstoredSecrets(stored) };
}

const WAYS: readonly [name: string, open: () => Promise<SecretAccess>][] = [
  ['that are stored', async () => (await start()).stored],
  ['that are not stored yet', async () => (await start()).unstored.access],
];

describe.each(WAYS)('secrets of a mesh %s', (_name, open) => {
  it('are replaced by who knows what stands there', async () => {
    const access = await open();
    expect(await access.replace('s', bytes('guess'), bytes('x'))).toBe(false);
    expect(await text(access, 's')).toBeUndefined();
    expect(await access.replace('s', undefined, bytes('one'))).toBe(true);
    expect(await access.replace('s', undefined, bytes('two'))).toBe(false);
    expect(await access.replace('s', bytes('on'), bytes('two'))).toBe(false);
    expect(await text(access, 's')).toBe('one');
    expect(await access.replace('s', bytes('one'), bytes('two'))).toBe(true);
    expect(await text(access, 's')).toBe('two');
  });

  it('tell an empty one from none', async () => {
    const access = await open();
    expect(await access.replace('s', undefined, bytes(''))).toBe(true);
    expect(await access.replace('s', undefined, bytes('x'))).toBe(false);
    expect(await access.replace('s', bytes(''), bytes('x'))).toBe(true);
  });

  it('are replaced by one of many who try at once', async () => {
    const access = await open();
    await access.createTogether(pair(['s', 'before']));
    const tries = Array.from({ length: 8 }, (_, i) => access.replace('s', bytes('before'), bytes(`after ${i}`)));
    expect((await Promise.all(tries)).filter(Boolean)).toHaveLength(1);
  });
});

describe('a stored secret that an issuer replaces', () => {
  it('belongs to its mesh and goes with it', async () => {
    const { store, stored } = await start();
    await stored.replace('s', undefined, bytes('one'));
    await stored.replace('s', bytes('one'), bytes('two'));
    expect(await store.getResource(secretKey('s'))).toMatchObject({ owned: true, version: 2 });
    await store.deleteMesh('m');
    expect(await store.getResource(secretKey('s'))).toBeUndefined();
  });

  it('is not made for a mesh that is gone', async () => {
    const { store, stored } = await start({ withMesh: false });
    await expect(stored.replace('s', undefined, bytes('one'))).rejects.toBeInstanceOf(NotFoundError);
    expect(await store.getResource(secretKey('s'))).toBeUndefined();
  });

  it('keeps the labels that a user gave it', async () => {
    const { store, stored } = await start();
    const body = JSON.stringify({ labels: { team: 'a' }, data: bytes('one').toString('base64') });
    await store.putResource({ ...secretKey('s'), body });
    expect(await stored.replace('s', bytes('one'), bytes('two'))).toBe(true);
    expect(JSON.parse((await store.getResource(secretKey('s')))?.body ?? '')).toMatchObject({ labels: { team: 'a' } });
  });

  it('tells those who follow secrets', async () => {
    const { stored } = await start();
    let told = 0;
    const stop = stored.onChange(() => {
      told += 1;
    });
    await stored.replace('s', undefined, bytes('one'));
    await stored.replace('s', bytes('one'), bytes('two'));
    stop();
    await stored.replace('s', bytes('two'), bytes('three'));
    expect(told).toBe(2);
  });
});

describe('what is not stored yet', () => {
  it('stands nowhere until it is kept, and then all of it does, in its order', async () => {
    const { stored, unstored } = await start();
    await stored.createTogether(pair(['old', '1']));
    const { access, keep } = unstored;
    await access.createTogether(pair(['a', '1'], ['b', '2']));
    await access.replace('a', bytes('1'), bytes('11'));
    await access.replace('new', undefined, bytes('3'));
    await access.replace('old', bytes('1'), bytes('12'));
    const all = () => Promise.all(['a', 'b', 'new', 'old'].map((name) => text(stored, name)));
    expect(await all()).toEqual([undefined, undefined, undefined, '1']);
    await keep();
    expect(await all()).toEqual(['11', '2', '3', '12']);
    await stored.replace('a', bytes('11'), bytes('another'));
    await keep();
    expect(await text(stored, 'a')).toBe('another');
  });

  it('gives way to what somebody else has stored meanwhile, with all that was built on it', async () => {
    const { stored, unstored } = await start();
    await unstored.access.createTogether(pair(['a', 'mine']));
    await unstored.access.replace('which', undefined, bytes('a is mine'));
    await stored.createTogether(pair(['a', 'theirs']));
    await unstored.keep();
    expect([await text(stored, 'a'), await text(stored, 'which')]).toEqual(['theirs', undefined]);
    expect(await text(unstored.access, 'a')).toBe('theirs');
  });
});
