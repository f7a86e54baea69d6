import type { SecretAccess } from '../issuer/issuer.ts';

export interface UnstoredSecrets {
  readonly access: SecretAccess;
  /** Stores what was written, in its order. What somebody else has stored meanwhile stands, and nothing that was built on the lost write is stored. */
  keep(): Promise<void>;
}

/** The same secrets, but what is written stays in memory until it is kept: a backend can be tried without a trace. */
export function createUnstoredSecrets(stored: SecretAccess): UnstoredSecrets {
  /** Undefined: removed. */
  const changed = new Map<string, Buffer | undefined>();
  const writes: (() => Promise<boolean>)[] = [];
  const read = async (name: string) => (changed.has(name) ? changed.get(name) : stored.read(name));
  return {
    access: {
      onChange: stored.onChange,
      read,
      async createTogether(secrets) {
        for (const name of secrets.keys()) if ((await read(name)) !== undefined) return false;
        for (const [name, data] of secrets) changed.set(name, data);
        writes.push(() => stored.createTogether(secrets));
        return true;
      },
      async replace(name, before, after) {
        const found = await read(name);
        if (found === undefined ? before !== undefined : before === undefined || !found.equals(before)) return false;
        changed.set(name, after);
        writes.push(() => stored.replace(name, before, after));
        return true;
      },
      async remove(names) {
        for (const name of names) changed.set(name, undefined);
        writes.push(() => stored.remove(names).then(() => true));
      },
    },
    async keep() {
      changed.clear();
      for (const write of writes.splice(0)) if (!(await write())) return;
    },
  };
}
