import { appendFileSync, existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/issuer/errors.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { silentLog } from '../../src/runtime/log.ts';
import { createSystemRandom } from '../../src/runtime/random.ts';
import { openStore } from '../../src/store/open-store.ts';
import { openSqliteStore } from '../../src/store/sql/sqlite-store.ts';
import type { PutResource } from '../../src/store/store.ts';
import { startChild } from './start-child.ts';
import { temporaryFolder } from './temporary-folder.ts';

const random = createSystemRandom();
const MESH = { type: 'Mesh', mesh: '', name: 'default', body: '{"token":"very secret"}' };
const SECRET = { type: 'Secret', mesh: 'default', name: 'tls', body: '{"data":"dmVyeSBzZWNyZXQ="}' };
const GLOBAL_SECRET = { type: 'GlobalSecret', mesh: '', name: 'token', body: '{"data":"dmVyeSBzZWNyZXQ="}' };
const DATAPLANE = { type: 'Dataplane', mesh: 'default', name: 'web', body: '{"address":"10.0.0.1"}' };

function createFolder() {
  const folder = temporaryFolder();
  const path = join(folder, 'mesh-ca.db');
  const keyFile = join(folder, 'store.key');
  const parts = { clock: systemClock, log: silentLog };
  const open = () => openStore(`sqlite:${path}`, { keyFile, random, ...parts });
  const openPlain = () => openSqliteStore({ path, ...parts });
  async function write(...resources: PutResource[]): Promise<void> {
    const store = await open();
    for (const resource of resources) await store.putResource(resource);
    await store.close();
  }
  async function keyIdOf(key: PutResource): Promise<string> {
    const store = await openPlain();
    const stored = await store.getResource(key);
    await store.close();
    return stored?.body.split(':')[2] ?? 'none';
  }
  const newKey = () => writeFileSync(keyFile, `${random.bytes(32).toString('base64')}\n`, { mode: 0o600 });
  return { path, keyFile, open, openPlain, write, keyIdOf, newKey };
}

describe('a database whose key file', () => {
  it('is gone is refused with the key that it needs, no new key is made, and the old file brings all back', async () => {
    const { path, keyFile, open, write, keyIdOf } = createFolder();
    await write(MESH, SECRET, GLOBAL_SECRET, DATAPLANE);
    renameSync(keyFile, `${keyFile}.backup`);

    const refusal = open();
    await expect(refusal).rejects.toThrow(ConfigError);
    await expect(refusal).rejects.toMatchObject({
      message: `store key file ${keyFile} is not there: database ${path} needs key ${await keyIdOf(MESH)} for 3 resources`,
      fix: expect.stringMatching(/^put the key file back from its backup.*to begin anew, move .*mesh-ca.db\* away$/),
    });
    expect(existsSync(keyFile)).toBe(false);

    renameSync(`${keyFile}.backup`, keyFile);
    const store = await open();
    expect(await store.getResource(MESH)).toMatchObject(MESH);
    await store.close();
  });

  it('was replaced is refused with every key that is missing, and the file stays as it is', async () => {
    const { path, keyFile, open, write, keyIdOf, newKey } = createFolder();
    await write(MESH, SECRET);
    const oldest = readFileSync(keyFile, 'utf8');
    newKey();
    appendFileSync(keyFile, oldest);
    await write(GLOBAL_SECRET);
    const [first, second] = [await keyIdOf(MESH), await keyIdOf(GLOBAL_SECRET)];
    newKey();
    const replaced = readFileSync(keyFile, 'utf8');

    const refusal = open();
    await expect(refusal).rejects.toThrow(ConfigError);
    const keys = [`key ${first} for 2 resources`, `key ${second} for 1 resource`].sort().join(', ');
    await expect(refusal).rejects.toThrow(
      new RegExp(`^store key file ${keyFile} does not hold all keys: database ${path} needs ${keys}$`),
    );
    expect(readFileSync(keyFile, 'utf8')).toBe(replaced);

    appendFileSync(keyFile, oldest);
    await expect(open()).rejects.toThrow(`needs key ${second} for 1 resource`);
  });

  it('was rotated, with the old key below the new one, opens', async () => {
    const { keyFile, open, write, keyIdOf, newKey } = createFolder();
    await write(MESH);
    const old = readFileSync(keyFile, 'utf8');
    newKey();
    appendFileSync(keyFile, old);
    await write(SECRET);
    expect(await keyIdOf(SECRET)).not.toBe(await keyIdOf(MESH));
    const store = await open();
    expect(await store.getResource(MESH)).toMatchObject(MESH);
    expect(await store.getResource(SECRET)).toMatchObject(SECRET);
    await store.close();
  });

  it('lost a key that nothing is sealed with any more opens', async () => {
    const { keyFile, open, write, newKey } = createFolder();
    await write(SECRET);
    const old = readFileSync(keyFile, 'utf8');
    newKey();
    appendFileSync(keyFile, old);
    await write(SECRET);
    writeFileSync(keyFile, readFileSync(keyFile, 'utf8').split('\n')[0] ?? '');
    const store = await open();
    expect(await store.getResource(SECRET)).toMatchObject(SECRET);
    await store.close();
  });

  it('is gone gets a new one when nothing is sealed, not even what was written before there was encryption', async () => {
    const { keyFile, open, openPlain, write } = createFolder();
    await write(DATAPLANE);
    const plain = await openPlain();
    await plain.putResource(MESH);
    await plain.close();
    rmSync(keyFile);
    const store = await open();
    expect(existsSync(keyFile)).toBe(true);
    expect(await store.getResource(MESH)).toMatchObject(MESH);
    await store.close();
  });
});

it('processes that start at once on a new folder seal with one key', async () => {
  const { path, open } = createFolder();
  const children = [startChild('seal', path), startChild('seal', path), startChild('seal', path)];
  for (const child of children) expect(await child.ended()).toBe(0);
  expect(children.map((child) => child.lines)).toEqual([['sealed'], ['sealed'], ['sealed']]);
  const store = await open();
  const { items } = await store.listResources({ type: 'Secret' });
  expect(items.map((item) => item.body)).toEqual(Array(3).fill('{"data":"c2VhbGVk"}'));
  await store.close();
});
