import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CaError } from '../../src/issuer/errors.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { silentLog } from '../../src/runtime/log.ts';
import { createSystemRandom } from '../../src/runtime/random.ts';
import { encryptStore } from '../../src/store/encrypted-store.ts';
import { createKeyring } from '../../src/store/keyring.ts';
import { createMemoryStore } from '../../src/store/memory/memory-store.ts';
import { openStore } from '../../src/store/open-store.ts';
import { testStore } from '../conformance/store.ts';
import { temporaryFolder } from './temporary-folder.ts';

const random = createSystemRandom();
const OLD_KEY = Buffer.alloc(32, 1);
const NEW_KEY = Buffer.alloc(32, 2);
const keyringOf = (...keys: Buffer[]) => createKeyring({ keys, random, source: 'store.key' });
const createInner = () => createMemoryStore({ clock: systemClock });

const SECRET = { type: 'Secret', mesh: 'default', name: 'tls', body: '{"data":"dmVyeSBzZWNyZXQ="}' };
const MESH = { type: 'Mesh', mesh: '', name: 'default', body: '{"token":"very secret"}' };
const DATAPLANE = { type: 'Dataplane', mesh: 'default', name: 'web', body: '{"address":"10.0.0.1"}' };

testStore('an encrypted store', async (clock) => encryptStore(createMemoryStore({ clock }), keyringOf(NEW_KEY)));

describe('encryption at rest', () => {
  it('covers the bodies of Secret and Mesh, however they are written, and nothing else', async () => {
    const inner = createInner();
    const store = encryptStore(inner, keyringOf(NEW_KEY));
    await store.putResource(SECRET);
    await store.createResources([MESH, DATAPLANE]);
    for (const resource of [SECRET, MESH]) {
      const stored = await inner.getResource(resource);
      expect(stored?.body).toMatch(/^enc:v1:[0-9a-f]{8}:[A-Za-z0-9+/]+=*$/);
      expect(Buffer.from(stored?.body.split(':')[3] ?? '', 'base64').toString('latin1')).not.toContain('secret');
      expect(await store.getResource(resource)).toMatchObject(resource);
      expect((await store.listResources(resource)).items).toMatchObject([resource]);
    }
    expect(await inner.getResource(DATAPLANE)).toMatchObject(DATAPLANE);
  });

  it('never encrypts the same text to the same bytes', async () => {
    const inner = createInner();
    const store = encryptStore(inner, keyringOf(NEW_KEY));
    const bodies = new Set<string | undefined>();
    for (let i = 0; i < 50; i++) {
      await store.putResource(SECRET);
      bodies.add((await inner.getResource(SECRET))?.body);
    }
    expect(bodies.size).toBe(50);
  });

  it.each([
    ['another name', { name: 'other' }],
    ['another mesh', { mesh: 'other' }],
    ['another type', { type: 'Mesh' }],
    ['a mesh and name that look alike when joined', { mesh: 'default","tls', name: 'x' }],
  ])('does not open what was moved to %s', async (_, change) => {
    const inner = createInner();
    const store = encryptStore(inner, keyringOf(NEW_KEY));
    await store.putResource(SECRET);
    const body = (await inner.getResource(SECRET))?.body ?? '';
    await inner.putResource({ ...SECRET, ...change, body });
    const moved = store.getResource({ ...SECRET, ...change });
    await expect(moved).rejects.toThrow(
      /was changed outside of mesh-ca, or copied from elsewhere: it does not decrypt with key [0-9a-f]{8} of store.key/,
    );
  });

  it.each([
    ['one bit of the ciphertext', (bytes: Buffer) => bytes.writeUInt8(bytes.readUInt8(14) ^ 1, 14)],
    ['one bit of the nonce', (bytes: Buffer) => bytes.writeUInt8(bytes.readUInt8(0) ^ 1, 0)],
    [
      'one bit of the tag',
      (bytes: Buffer) => bytes.writeUInt8(bytes.readUInt8(bytes.length - 1) ^ 1, bytes.length - 1),
    ],
  ])('does not open after a change of %s', async (_, change) => {
    const keyring = keyringOf(NEW_KEY);
    const [enc, version, id, content = ''] = keyring.seal('secret', 'Secret x').split(':');
    const bytes = Buffer.from(content, 'base64');
    change(bytes);
    expect(() => keyring.open([enc, version, id, bytes.toString('base64')].join(':'), 'Secret x')).toThrow(
      'was changed',
    );
  });

  it.each([
    ['a cut-off text', 'enc:v1:ID:AAAA', 'is encrypted, but cut off'],
    ['no content', 'enc:v1:ID', 'is encrypted, but cut off'],
    ['a later format', 'enc:v2:ID:AAAA', 'is encrypted in an unknown format'],
    ['nothing but the mark', 'enc:', 'is encrypted in an unknown format'],
  ])('says of %s what is wrong', (_, text, message) => {
    const keyring = keyringOf(NEW_KEY);
    expect(() => keyring.open(text.replace('ID', keyring.currentKeyId), 'Secret x')).toThrow(`Secret x ${message}`);
  });

  it('names the missing key and the file, and no content, when the key is another one: a fault of the service, not of the caller', async () => {
    const inner = createInner();
    const old = keyringOf(OLD_KEY);
    await encryptStore(inner, old).putResource(SECRET);
    const read = encryptStore(inner, keyringOf(NEW_KEY)).getResource(SECRET);
    await expect(read).rejects.toThrow(
      `Secret ["default","tls"] is encrypted with key ${old.currentKeyId}, which is not in store.key`,
    );
    await expect(read).rejects.not.toThrow(CaError);
  });

  it('reads a body that was stored before there was encryption, and encrypts it when it is written next', async () => {
    const inner = createInner();
    const store = encryptStore(inner, keyringOf(NEW_KEY));
    await inner.putResource(SECRET);
    const before = await store.getResource(SECRET);
    expect(before).toMatchObject(SECRET);
    await store.putResource(SECRET, { expectedVersion: 1 });
    expect((await inner.getResource(SECRET))?.body).toMatch(/^enc:v1:/);
  });
});

describe('rotation of the store key', () => {
  it('reads what older keys wrote, writes with the first, and can do without the old one for what was written again', async () => {
    const inner = createInner();
    await encryptStore(inner, keyringOf(OLD_KEY)).createResources([SECRET, MESH, DATAPLANE]);
    const both = keyringOf(NEW_KEY, OLD_KEY);
    const store = encryptStore(inner, both);
    expect(await store.getResource(SECRET)).toMatchObject({ ...SECRET, version: 1 });
    await store.putResource(SECRET);
    await store.putResource({ ...SECRET, name: 'new' });

    const after = encryptStore(inner, keyringOf(NEW_KEY));
    expect(await after.getResource(SECRET)).toMatchObject({ ...SECRET, version: 2 });
    expect(await after.getResource({ ...SECRET, name: 'new' })).toMatchObject({ version: 1 });
    await expect(after.getResource(MESH)).rejects.toThrow('which is not in store.key');
    expect(await store.getResource(MESH)).toMatchObject(MESH);
  });

  it.each([
    ['no key', [], 'store.key holds no key'],
    ['a short key', [NEW_KEY, Buffer.alloc(16)], 'a key in store.key is not 32 bytes long'],
    ['a key twice', [NEW_KEY, OLD_KEY, NEW_KEY], 'store.key holds a key twice'],
  ])('refuses a keyring with %s', (_, keys, message) => {
    expect(() => keyringOf(...keys)).toThrow(message);
  });
});

it('leaves no secret in any file of the data directory', async () => {
  const dataDir = temporaryFolder();
  const options = { keyFile: join(dataDir, 'store.key'), clock: systemClock, random, log: silentLog };
  const url = `sqlite://${join(dataDir, 'mesh-ca.db')}`;
  const store = await openStore(url, options);
  await store.createResources([SECRET, MESH, DATAPLANE]);
  const search = (text: string) =>
    readdirSync(dataDir).filter((file) => readFileSync(join(dataDir, file)).includes(text));
  expect(search('10.0.0.1')).not.toEqual([]);
  expect([search('dmVyeSBzZWNyZXQ='), search('very secret')]).toEqual([[], []]);
  await store.close();
  const again = await openStore(url, options);
  expect(await again.getResource(SECRET)).toMatchObject(SECRET);
  await again.close();
});
