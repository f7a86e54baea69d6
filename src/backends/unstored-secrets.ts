import type { SecretAccess } from '../issuer/issuer.ts';
import { isSameData } from './is-same-data.ts';

export interface UnstoredSecrets {
  readonly access: SecretAccess;
  /** Stores what was written, in its order. What somebody else has stored meanwhile stands, and nothing that was built on the lost write is stored. */
  keep(): Promise<void>;
}

/** The same secrets, but what is written stays in memory until it is kept: a backend can be tried without a trace. */
export function createUnstoredSecrets(stored: SecretAccess): UnstoredSecrets {
  const changed = new Map<string, Buffer>();
  const writes: (() => Promise<boolean>)[] = [];
  /** @param found what is stored */
  const now = (name: string, found: Buffer | undefined) => changed.get(name) ?? found;
  return {
    access: {
      onChange: stored.onChange,
      read: async (name) => now(name, await stored.read(name)),
      async createTogether(secrets) {
        const found = new Map<string, Buffer | undefined>();
        for (const name of secrets.keys()) found.set(name, await stored.read(name));
        for (const [name, one] of found) if (now(name, one) !== undefined) return false;
        for (const [name, data] of secrets) changed.set(name, data);
        writes.push(() => stored.createTogether(secrets));
        return true;
      },
      async replace(name, before, after) {
        const found = now(name, await stored.read(name));
        if (!isSameData(found, before)) return false;
        changed.set(name, after);
        writes.push(() => stored.replace(name, before, after));
        return true;
      },
    },
    async keep() {
      changed.clear();
      for (const write of writes.splice(0)) if (!(await write())) return;
    },
  };
}
