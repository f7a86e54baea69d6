import { resolve } from 'node:path';
import { ConfigError } from '../issuer/errors.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import type { Random } from '../runtime/random.ts';
import { encryptStore, SECRET_TYPES } from './encrypted-store.ts';
import { openKeyFile } from './key-file.ts';
import { createKeyring, KEY_BYTES, keyIdOf, SEALED_BEGIN } from './keyring.ts';
import { createMemoryStore } from './memory/memory-store.ts';
import type { OpenSqlite } from './sql/sqlite-store.ts';
import type { Store } from './store.ts';

export interface OpenStoreOptions {
  /** File of the keys that encrypt secrets; made when missing, unless the database already needs one. Not used in memory. */
  readonly keyFile: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

export type StoreUrl = { readonly kind: 'sqlite'; readonly path: string } | { readonly kind: 'memory' };

const FORMS = 'sqlite:///absolute/path.db, sqlite://relative/path.db or memory:';
/** Planned, so that the answer can be better than "unknown". */
const LATER = /^(postgres|postgresql|kubernetes):/;

/**
 * Opens what `MESH_CA_STORE` names, with secrets encrypted at rest. Secrets in memory are, too: one way of working everywhere.
 *
 * @throws ConfigError when the URL, the database or the key file cannot be used, or the key file is not the one of this database
 */
export async function openStore(url: string, { keyFile, clock, random, log }: OpenStoreOptions): Promise<Store> {
  const target = parseStoreUrl(url);
  if (target.kind === 'memory') {
    const keyring = createKeyring({ keys: [random.bytes(KEY_BYTES)], random, source: 'memory' });
    return encryptStore(createMemoryStore({ clock }), keyring);
  }
  // Here and not above: a memory store needs no native driver.
  const { openSqlite } = await import('./sql/sqlite-store.ts');
  const { store, countByBegin } = await openSqlite({ path: target.path, clock, log });
  try {
    const database = { path: target.path, sealed: await countSealed(countByBegin) };
    return encryptStore(store, await openKeyFile({ path: keyFile, random, database }));
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** How many resources each key id seals. */
async function countSealed(countByBegin: OpenSqlite['countByBegin']): Promise<ReadonlyMap<string, number>> {
  const counts = new Map<string, number>();
  for (const type of SECRET_TYPES) {
    for (const [begin, count] of await countByBegin({ type, ...SEALED_BEGIN })) {
      const keyId = keyIdOf(begin);
      counts.set(keyId, (counts.get(keyId) ?? 0) + count);
    }
  }
  return counts;
}

/**
 * `path` is absolute; a relative one counts from the working directory.
 *
 * @throws ConfigError naming the forms
 */
export function parseStoreUrl(url: string): StoreUrl {
  if (url === 'memory:') return { kind: 'memory' };
  if (LATER.test(url)) {
    const scheme = url.slice(0, url.indexOf(':'));
    throw new ConfigError(`store ${scheme}: is not supported in this version`, { fix: `use ${FORMS}` });
  }
  const path = pathOf(url);
  if (path === undefined) throw new ConfigError(`store ${JSON.stringify(withoutPassword(url))} is not one of ${FORMS}`);
  return { kind: 'sqlite', path: resolve(path) };
}

/** Undefined for no file at all, and for what SQLite or a URL would give another meaning. */
function pathOf(url: string): string | undefined {
  const path = /^sqlite:(?:\/\/)?(.+)$/.exec(url)?.[1];
  if (path === undefined || path === ':memory:' || path.endsWith('/') || /[?#\0]/.test(path)) return undefined;
  return path;
}

function withoutPassword(url: string): string {
  return url.replace(/\/\/[^/@]*@/, '//***@');
}
