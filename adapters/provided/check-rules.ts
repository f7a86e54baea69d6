import type { CheckRule } from '../../src/issuer/issuer.ts';

/** What `inspect` looks at, in order. */
export const CHECK_RULES: readonly CheckRule[] = [
  { name: 'provided.data-loads', blocks: true },
  { name: 'provided.key-protected', field: 'key' },
  { name: 'provided.key-matches', blocks: true, field: 'cert' },
  { name: 'provided.ca-rules', field: 'cert' },
  { name: 'provided.ca-valid', blocks: true, field: 'cert' },
];
