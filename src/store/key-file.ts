import { type FileHandle, link, open, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { ConfigError } from '../issuer/errors.ts';
import { makeFolder } from '../runtime/make-folder.ts';
import { countText } from '../text/count-text.ts';
import { createKeyring, KEY_BYTES, type Keyring } from './keyring.ts';

export interface KeyFileOptions {
  /** `<dataDir>/store.key`, or what MESH_CA_STORE_KEY_FILE says. One base64 key a line, the current one first; lines that begin with `#` say nothing. */
  readonly path: string;
  readonly random: { bytes(length: number): Buffer };
  /** What the keys are for. */
  readonly database: SealedDatabase;
}

export interface SealedDatabase {
  readonly path: string;
  /** How many resources each key id seals. Looked up before the key file is: who seals has made or read the file before. */
  readonly sealed: ReadonlyMap<string, number>;
}

/** More is no key file. */
const LARGEST_FILE = 64 * 1024;
const KEY_LINE = /^[A-Za-z0-9+/]{43}=$/;

/**
 * The keyring in a file. When there is none, and the database holds nothing sealed, it is made with a new key; of several processes that
 * start at once, one makes it.
 *
 * @throws ConfigError when the file may be read by others, cannot be read, holds something else, or lacks a key that the database needs
 */
export async function openKeyFile({ path, random, database }: KeyFileOptions): Promise<Keyring> {
  try {
    const found = await readPrivate(path);
    if (found === undefined && database.sealed.size > 0) throw keysMissing(path, 'is not there', database);
    const text = found ?? (await create(path, random));
    const keyring = createKeyring({ keys: parseKeys(text, path), random, source: path });
    const missing = new Map([...database.sealed].filter(([keyId]) => !keyring.has(keyId)));
    if (missing.size > 0) throw keysMissing(path, 'does not hold all keys', { ...database, sealed: missing });
    return keyring;
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    const fix = 'check MESH_CA_STORE_KEY_FILE, and that this user may read and write its folder';
    throw new ConfigError(`store key file ${path} cannot be used: ${messageOf(error)}`, { cause: error, fix });
  }
}

function keysMissing(path: string, what: string, { path: database, sealed }: SealedDatabase): ConfigError {
  const keys = [...sealed].sort().map(([keyId, count]) => `key ${keyId} for ${countText(count, 'resource')}`);
  return new ConfigError(`store key file ${path} ${what}: database ${database} needs ${keys.join(', ')}`, {
    fix: `put the key file back from its backup, or name it in MESH_CA_STORE_KEY_FILE (a key in use meanwhile stays in it as a further line); without it the secrets cannot be read: to begin anew, move ${database}* away`,
  });
}

function parseKeys(text: string, path: string): Buffer[] {
  const lines = text.split('\n').map((line) => line.trim());
  const keyLines = lines.flatMap((line, index) =>
    line === '' || line.startsWith('#') ? [] : [{ line, number: index + 1 }],
  );
  return keyLines.map(({ line, number }) => {
    if (KEY_LINE.test(line)) return Buffer.from(line, 'base64');
    const fix = `write one key a line, ${KEY_BYTES} random bytes in base64 each: \`openssl rand -base64 ${KEY_BYTES}\``;
    throw new ConfigError(`line ${number} of ${path} is not a key`, { fix });
  });
}

/** Undefined when there is none. Mode and content are of one and the same open file. */
async function readPrivate(path: string): Promise<string | undefined> {
  let file: FileHandle;
  try {
    file = await open(path, 'r');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const { mode, size } = await file.stat();
    if ((mode & 0o077) !== 0) {
      const octal = (mode & 0o777).toString(8).padStart(4, '0');
      throw new ConfigError(`store key file ${path} has mode ${octal}, others may use it`, {
        fix: `chmod 600 ${path}`,
      });
    }
    if (size > LARGEST_FILE)
      throw new ConfigError(`store key file ${path} is ${size} bytes long, which no key file is`);
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}

/** Written whole beside its place, then linked into it: `link` fails when another process was first, and then its file counts. */
async function create(path: string, random: KeyFileOptions['random']): Promise<string> {
  const folder = dirname(path);
  makeFolder(folder);
  const draft = join(folder, `.${basename(path)}.${random.bytes(8).toString('hex')}`);
  const file = await open(draft, 'wx', 0o600);
  try {
    await file.writeFile(`${random.bytes(KEY_BYTES).toString('base64')}\n`);
    await file.sync();
    await link(draft, path).catch((error: unknown) => {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
    });
  } finally {
    await file.close();
    await unlink(draft);
  }
  await syncFolder(folder);
  const text = await readPrivate(path);
  if (text === undefined) throw new Error('it was removed while it was being made');
  return text;
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
