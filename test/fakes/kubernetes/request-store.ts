import type { CertificateRequest } from './certificate-request.ts';
import { tooOld, versionTooLarge } from './status.ts';

export interface Change {
  readonly version: number;
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly object: CertificateRequest;
  /** What it was before: a watch with a selector tells a change by what it sees of it. */
  readonly before: CertificateRequest | undefined;
  /** The object as JSON: written once, sent to every watch. */
  readonly json: string;
}

/** The objects, one counter of versions, and the changes of the recent past. */
export interface RequestStore {
  readonly version: number;
  readonly size: number;
  find(namespace: string, name: string): CertificateRequest | undefined;
  /** By namespace and name. '' is every namespace. */
  list(namespace: string): CertificateRequest[];
  /** Each gives the object its new resourceVersion. */
  add(object: CertificateRequest): CertificateRequest;
  replace(before: CertificateRequest, object: CertificateRequest): CertificateRequest;
  remove(before: CertificateRequest): CertificateRequest;
  /**
   * Calls `listener` with every change after `version`: those of the past at once.
   * @throws StatusError 410 when `version` is older than what is remembered
   */
  follow(version: number, listener: (change: Change) => void): () => void;
  /** @throws StatusError 410, 504 */
  checkVersion(version: number): void;
  forgetHistory(): void;
}

const FIRST_VERSION = 1000;

export function createRequestStore(historySize: number): RequestStore {
  const objects = new Map<string, CertificateRequest>();
  const listeners = new Set<(change: Change) => void>();
  let history: Change[] = [];
  let version = FIRST_VERSION;
  let forgotten = FIRST_VERSION;
  const keyOf = (namespace: string, name: string) => `${namespace}/${name}`;

  function commit(
    type: Change['type'],
    object: CertificateRequest,
    before: CertificateRequest | undefined,
  ): CertificateRequest {
    version += 1;
    const stored = { ...object, metadata: { ...object.metadata, resourceVersion: String(version) } };
    const key = keyOf(stored.metadata.namespace, stored.metadata.name);
    if (type === 'DELETED') objects.delete(key);
    else objects.set(key, stored);
    const change: Change = { version, type, object: stored, before, json: JSON.stringify(stored) };
    history.push(change);
    // In large steps: shifting one by one would cost as much as everything else.
    if (history.length > historySize * 2) drop(history.length - historySize);
    for (const listener of listeners) listener(change);
    return stored;
  }

  function drop(count: number): void {
    forgotten = history[count - 1]?.version ?? forgotten;
    history = history.slice(count);
  }

  function checkVersion(asked: number): void {
    if (asked > version) throw versionTooLarge(asked, version);
    const oldest = Math.max(forgotten, history.at(-historySize - 1)?.version ?? 0);
    if (asked < oldest) throw tooOld(asked, oldest);
  }

  return {
    get version() {
      return version;
    },
    get size() {
      return objects.size;
    },
    find: (namespace, name) => objects.get(keyOf(namespace, name)),
    list(namespace) {
      const all = [...objects.values()];
      const found = namespace === '' ? all : all.filter(({ metadata }) => metadata.namespace === namespace);
      return found.sort((a, b) =>
        compare(keyOf(a.metadata.namespace, a.metadata.name), keyOf(b.metadata.namespace, b.metadata.name)),
      );
    },
    add: (object) => commit('ADDED', object, undefined),
    replace: (before, object) => commit('MODIFIED', object, before),
    remove: (before) => commit('DELETED', before, before),
    checkVersion,
    follow(since, listener) {
      if (since <= version) checkVersion(since);
      for (const change of history) if (change.version > since) listener(change);
      const later = (change: Change) => {
        if (change.version > since) listener(change);
      };
      listeners.add(later);
      return () => void listeners.delete(later);
    },
    forgetHistory() {
      drop(history.length);
    },
  };
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
