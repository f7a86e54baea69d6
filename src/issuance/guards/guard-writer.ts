import { NotFoundError } from '../../issuer/errors.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import type { ResourceKey, Store } from '../../store/store.ts';

/** Type of the store's resource that holds what is known about a backend that is not well. */
export const BACKEND_STATE = 'BackendState';

/** A backend by the names it has in the store. */
export interface BackendKey {
  readonly mesh: string;
  readonly name: string;
}

export interface GuardWriterOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  /** What is to be stored of a backend now; undefined: nothing. */
  readonly bodyOf: (id: string) => string | undefined;
  /** Its mesh is gone. */
  readonly onGone: (id: string) => void;
}

export interface GuardWriter {
  /** @param when `soon`: within `WRITE_AFTER_MS`, together with what else changes until then */
  changed(id: string, backend: BackendKey, when: 'soon' | 'now'): void;
  /** It stands in the store. */
  stands(id: string): void;
  /** Writes what is not written yet. Idempotent. */
  close(): Promise<void>;
}

/** What a crash may lose. */
const WRITE_AFTER_MS = 1000;

/** Writes the newest state of each backend that changed; never two writes at a time, and never a failure to those who changed it. */
export function createGuardWriter({ store, clock, log, bodyOf, onGone }: GuardWriterOptions): GuardWriter {
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
    const key: ResourceKey = { type: BACKEND_STATE, mesh: backend.mesh, name: backend.name };
    try {
      const body = bodyOf(id);
      if (body !== undefined) {
        const requires = [{ type: 'Mesh', mesh: '', name: backend.mesh }];
        await store.putResource({ ...key, body, owned: true }, { requires });
        stored.add(id);
      } else {
        if (!stored.has(id)) return;
        await store.deleteResource(key);
        stored.delete(id);
      }
      isFailing = false;
    } catch (error) {
      if (error instanceof NotFoundError) {
        stored.delete(id);
        onGone(id);
        return;
      }
      // Tried again with the next change.
      changes.set(id, backend);
      if (!isFailing) log.warn({ ...backend, err: error }, 'the state of a backend was not stored');
      isFailing = true;
    }
  }

  return {
    changed(id, backend, when) {
      if (closing.signal.aborted) return;
      changes.set(id, backend);
      if (when === 'now') void write();
      else writeSoon();
    },
    stands: (id) => void stored.add(id),
    close() {
      closing.abort(new Error('closed'));
      return write();
    },
  };
}
