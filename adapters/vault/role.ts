import { KEY_TYPES, type KeyType } from '../../src/issuer/issuer.ts';
import type { RoleReply } from './replies.ts';

/** What a PKI role means for the CSRs that are sent to `sign`. */
export interface RoleFacts {
  readonly keyTypes: readonly KeyType[];
  readonly signsCsrAsIs: boolean;
  /** Name or id of the issuer that it is bound to. */
  readonly issuerRef: string;
  /** False: Vault was not asked (no right to read the role), the documented role is assumed. */
  readonly isKnown: boolean;
}

/** Vault's names of key types, and the smallest key that each takes when the role says `key_bits=0`. */
const FAMILIES: Readonly<Record<string, { readonly prefix: readonly string[]; readonly defaultBits: number }>> = {
  rsa: { prefix: ['RSA-'], defaultBits: 2048 },
  ec: { prefix: ['EC-P'], defaultBits: 256 },
  any: { prefix: ['EC-P', 'RSA-'], defaultBits: 0 },
  ed25519: { prefix: [], defaultBits: 0 },
};

/** The role of the product documentation says nothing about keys: that is `key_type=rsa key_bits=2048`, and names come from the CSR. */
export const ASSUMED_ROLE: RoleFacts = {
  keyTypes: keyTypesOf('rsa', 0),
  signsCsrAsIs: true,
  issuerRef: 'default',
  isKnown: false,
};

export function readRole(role: RoleReply): RoleFacts {
  return {
    keyTypes: keyTypesOf(role.key_type, role.key_bits),
    signsCsrAsIs: role.use_csr_sans || role.use_csr_common_name,
    issuerRef: role.issuer_ref,
    isKnown: true,
  };
}

/** What the refusal of a key tells about a role that cannot be read: `role requires keys of type ec`, `requires a minimum of a 3072-bit key`. */
export function learnFromRefusal(facts: RoleFacts, message: string): RoleFacts {
  const family = /role requires keys of type (\w+)/.exec(message)?.[1];
  const bits = /requires a minimum of a (\d{1,5})-bit key/.exec(message)?.[1];
  const keyTypes =
    family === undefined ? facts.keyTypes.filter((type) => bitsOf(type) >= Number(bits ?? 0)) : keyTypesOf(family, 0);
  // None that a proxy could have: Vault's refusals say so until the role is corrected.
  return keyTypes.length === 0 ? facts : { ...facts, keyTypes };
}

function keyTypesOf(family: string, keyBits: number): readonly KeyType[] {
  const known = FAMILIES[family];
  if (known === undefined) return [];
  const bits = keyBits === 0 ? known.defaultBits : keyBits;
  return KEY_TYPES.filter((type) => {
    const isOfFamily = known.prefix.some((prefix) => type.startsWith(prefix));
    return isOfFamily && (family === 'any' || bitsOf(type) >= bits);
  });
}

function bitsOf(type: KeyType): number {
  return Number(/\d+$/.exec(type)?.[0] ?? 0);
}
