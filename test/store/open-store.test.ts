import { chmodSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/issuer/errors.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { silentLog } from '../../src/runtime/log.ts';
import { createSystemRandom } from '../../src/runtime/random.ts';
import { openKeyFile } from '../../src/store/key-file.ts';
import { openStore, parseStoreUrl } from '../../src/store/open-store.ts';
import { temporaryFolder } from './temporary-folder.ts';

const random = createSystemRandom();
const database = { path: 'mesh-ca.db', sealed: new Map<string, number>() };

describe('MESH_CA_STORE', () => {
  it.each([
    ['sqlite:///var/lib/mesh-ca.db', '/var/lib/mesh-ca.db'],
    ['sqlite:/var/lib/mesh-ca.db', '/var/lib/mesh-ca.db'],
    ['sqlite:./data/mesh-ca.db', resolve('data/mesh-ca.db')],
    ['sqlite://./data/mesh-ca.db', resolve('data/mesh-ca.db')],
    ['sqlite://data/mesh-ca.db', resolve('data/mesh-ca.db')],
    ['sqlite:mesh ca.db', resolve('mesh ca.db')],
  ])('%s is the SQLite file %s', (url, path) => {
    expect(parseStoreUrl(url)).toEqual({ kind: 'sqlite', path });
  });

  it.each([
    '',
    'sqlite',
    'sqlite:',
    'sqlite://',
    'sqlite:///',
    'sqlite::memory:',
    'sqlite:/a?mode=ro',
    'sqlite:/a/',
    'memory',
    'memory:x',
    '/a/file',
    'mysql://a',
  ])('%j is refused with the forms that are known', (url) => {
    expect(() => parseStoreUrl(url)).toThrow(ConfigError);
    expect(() => parseStoreUrl(url)).toThrow('sqlite:///absolute/path.db, sqlite://relative/path.db or memory:');
  });

  it.each(['postgres://user:pass-word@host/db', 'postgresql://host/db', 'kubernetes:'])(
    '%s is told not to be there yet',
    (url) => {
      const parse = () => parseStoreUrl(url);
      expect(parse).toThrow(`store ${url.split(':')[0]}: is not supported in this version`);
      expect(parse).not.toThrow('pass-word');
    },
  );

  it('never repeats a password', () => {
    expect(() => parseStoreUrl('mysql://user:pass-word@host/db')).toThrow('"mysql://***@host/db"');
  });

  it.each(['memory:', 'sqlite:'])('opens a store by %s that works', async (scheme) => {
    const dataDir = temporaryFolder();
    const url = scheme === 'memory:' ? scheme : `sqlite:${join(dataDir, 'mesh-ca.db')}`;
    const store = await openStore(url, {
      keyFile: join(dataDir, 'store.key'),
      clock: systemClock,
      random,
      log: silentLog,
    });
    const secret = { type: 'Secret', mesh: 'default', name: 'a', body: '{}' };
    await store.putResource(secret);
    expect(await store.getResource(secret)).toMatchObject(secret);
    await store.ping();
    await store.close();
    expect(readdirSync(dataDir).includes('store.key')).toBe(scheme === 'sqlite:');
  });
});

describe('the store key file', () => {
  it('is made at first start, for its owner alone, and is the same at the next', async () => {
    const folder = join(temporaryFolder(), 'data');
    const path = join(folder, 'store.key');
    const first = await openKeyFile({ path, random, database });
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    const again = await openKeyFile({ path, random, database });
    expect(again.open(first.seal('text', 'here'), 'here')).toBe('text');
    expect(readdirSync(folder)).toEqual(['store.key']);
  });

  it('is made once when 20 start at the same time', async () => {
    const folder = temporaryFolder();
    const path = join(folder, 'store.key');
    const keyrings = await Promise.all(Array.from({ length: 20 }, () => openKeyFile({ path, random, database })));
    expect(new Set(keyrings.map((keyring) => keyring.currentKeyId)).size).toBe(1);
    expect(readdirSync(folder)).toEqual(['store.key']);
  });

  it.each([0o640, 0o604, 0o666, 0o620])(
    'is refused with mode %i (decimal), with the command that repairs it',
    async (mode) => {
      const path = join(temporaryFolder(), 'store.key');
      await openKeyFile({ path, random, database });
      chmodSync(path, mode);
      const refusal = openKeyFile({ path, random, database });
      await expect(refusal).rejects.toThrow(ConfigError);
      await expect(refusal).rejects.toThrow(`store key file ${path} has mode 0${mode.toString(8)}`);
      await expect(refusal).rejects.toMatchObject({ fix: `chmod 600 ${path}` });
    },
  );

  it('may hold older keys below the current one, comments and empty lines', async () => {
    const path = join(temporaryFolder(), 'store.key');
    const old = await openKeyFile({ path, random, database });
    const sealed = old.seal('text', 'here');
    const newKey = Buffer.alloc(32, 9).toString('base64');
    writeFileSync(path, `# since 2026-01\n${newKey}\r\n\n# before\n${readFileSync(path, 'utf8')}`);
    const both = await openKeyFile({ path, random, database });
    expect(both.currentKeyId).not.toBe(old.currentKeyId);
    expect(both.open(sealed, 'here')).toBe('text');
  });

  it.each([
    ['nothing', '', 'holds no key'],
    ['another text', 'hello\n', 'line 1 of'],
    ['a key that is too short', `${Buffer.alloc(16).toString('base64')}\n`, 'line 1 of'],
    ['a bad second line', `${Buffer.alloc(32).toString('base64')}\nx\n`, 'line 2 of'],
    ['far too much', 'x'.repeat(70_000), 'is 70000 bytes long'],
  ])('with %s is refused, without its content', async (_, content, message) => {
    const path = join(temporaryFolder(), 'store.key');
    writeFileSync(path, content, { mode: 0o600 });
    const refusal = openKeyFile({ path, random, database });
    await expect(refusal).rejects.toThrow(ConfigError);
    await expect(refusal).rejects.toThrow(message);
    await expect(refusal).rejects.not.toThrow('hello');
  });

  it('that is a folder is refused with its name', async () => {
    const path = temporaryFolder();
    chmodSync(path, 0o700);
    await expect(openKeyFile({ path, random, database })).rejects.toThrow(`store key file ${path} cannot be used`);
  });
});
