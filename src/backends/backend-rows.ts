import { NotFoundError } from '../issuer/errors.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import type { ResourceKey, Store, StoredResource } from '../store/store.ts';

/** A backend by the names it has in the store. */
export interface BackendKey {
  readonly mesh: string;
  readonly name: string;
}

export interface BackendRowsOptions {
  /** Type of the resources; one for each backend, which belongs to the mesh and goes with it. */
  readonly type: string;
  readonly store: Pick<Store, 'listResources' | 'putResource' | 'deleteResource'>;
  readonly clock: Pick<Clock, 'sleep'>;
  readonly log: Log;
  /** What is to be stored of a backend now; undefined: nothing. */
  readonly bodyOf: (backend: BackendKey) => string | undefined;
  /** Its mesh is gone. */
  readonly onGone: (backend: BackendKey) => void;
}

/** What is kept of each backend over a restart. */
export interface BackendRows {
  /** What stands in the store. To be called before anything changes. @throws StoreUnavailableError */
  readAll(): Promise<readonly StoredResource[]>;
  /** @param when `soon`: within `WRITE_AFTER_MS`, together with what else changes until then */
  changed(backend: BackendKey, when: 'soon' | 'now'): void;
  /** Writes what is not written yet. Idempotent. */
  close(): Promise<void>;
}

/** What a crash may lose. */
const WRITE_AFTER_MS = 1000;

/** Writes the newest of each backend that changed; never two writes at a time, and never a failure to those who changed it. */
export function createBackendRows({ type, store, clock, log, bodyOf, onGone }: BackendRowsOptions): BackendRows {
  const changes = new Map<string, BackendKey>();
  const stored = new Set<string>();
  const closing = new AbortController();
  let isWaiting = false;
  let isAskedAgain = false;
  let isFailing = false;
  let writing: Promise<void> | undefined;

  function writeSoon(): void {
    if (isWaiting) return;
    isWaiting = true;
    clock.sleep(WRITE_AFTER_MS, closing.signal).then(
      () => {
        isWaiting = false;
        void write();
      },
      () => {},
    );
  }

  function write(): Promise<void> {
    isAskedAgain = true;
    writing ??= writeAll().finally(() => {
      writing = undefined;
    });
    return writing;
  }

  async function writeAll(): Promise<void> {
    while (isAskedAgain) {
      isAskedAgain = false;
      const batch = [...changes];
      changes.clear();
      await Promise.all(batch.map(([id, backend]) => writeOne(id, backend)));
    }
  }

  async function writeOne(id: string, backend: BackendKey): Promise<void> {
    const { mesh, name } = backend;
    const key: ResourceKey = { type, mesh, name };
    try {
      const body = bodyOf(backend);
      if (body !== undefined) {
        await store.putResource({ ...key, body, owned: true }, { requires: [{ type: 'Mesh', mesh: '', name: mesh }] });
        stored.add(id);
      } else if (stored.delete(id)) {
        await store.deleteResource(key);
      }
      isFailing = false;
    } catch (error) {
      if (error instanceof NotFoundError) {
        stored.delete(id);
        // What changed meanwhile may be about a new mesh of that name.
        if (!changes.has(id)) onGone(backend);
        return;
      }
      // Tried again with the next change. Whether it stands there, nobody knows.
      stored.add(id);
      if (!changes.has(id)) changes.set(id, backend);
      if (!isFailing)
        log.warn({ mesh, backend: name, resource: type, err: error }, 'what is known of a backend was not stored');
      isFailing = true;
    }
  }

  return {
    async readAll() {
      const { items } = await store.listResources({ type });
      for (const item of items) stored.add(backendId(item));
      return items;
    },
    changed(backend, when) {
      if (closing.signal.aborted) return;
      changes.set(backendId(backend), backend);
      if (when === 'now') void write();
      else writeSoon();
    },
    close() {
      closing.abort(new Error('closed'));
      return write();
    },
  };
}

/** One key for a backend in a map. */
export function backendId({ mesh, name }: BackendKey): string {
  return `${mesh}/${name}`;
}
