import type { SecretAccess } from '../issuer/issuer.ts';

export interface UnstoredSecrets {
  readonly access: SecretAccess;
  /** Stores what was created. What somebody else has stored meanwhile stands. */
  keep(): Promise<void>;
}

/** The same secrets, but what is created stays in memory until it is kept: a backend can be tried without a trace. */
export function createUnstoredSecrets(stored: SecretAccess): UnstoredSecrets {
  const groups: ReadonlyMap<string, Buffer>[] = [];
  const find = (name: string) => groups.find((group) => group.has(name))?.get(name);
  return {
    access: {
      ...stored,
      read: async (name) => find(name) ?? stored.read(name),
      async createTogether(secrets) {
        for (const name of secrets.keys()) {
          if (find(name) !== undefined || (await stored.read(name)) !== undefined) return false;
        }
        groups.push(secrets);
        return true;
      },
    },
    async keep() {
      for (const group of groups.splice(0)) await stored.createTogether(group);
    },
  };
}
