import type { CheckRule } from '../../src/issuer/issuer.ts';

/** What `inspect` looks at, in order. */
export const CHECK_RULES: readonly CheckRule[] = [
  { name: 'builtin.secrets-present', blocks: true },
  { name: 'builtin.key-matches', blocks: true },
  { name: 'builtin.generations' },
  { name: 'builtin.key-type', field: 'caCert.keyType' },
  { name: 'builtin.ca-valid', blocks: true },
];
