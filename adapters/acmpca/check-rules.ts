import type { CheckRule } from '../../src/issuer/issuer.ts';

/** What `inspect` looks at, in order. */
export const CHECK_RULES: readonly CheckRule[] = [
  { name: 'acmpca.credentials-loaded', blocks: true, field: 'auth.awsCredentials' },
  { name: 'acmpca.ca-cert-loaded', blocks: true, field: 'caCert' },
  { name: 'acmpca.address-reachable', blocks: true, field: 'endpoint' },
  { name: 'acmpca.clock' },
  { name: 'acmpca.credentials-accepted', blocks: true, field: 'auth.awsCredentials' },
  { name: 'acmpca.ca-active', blocks: true, field: 'arn' },
  { name: 'acmpca.get-permitted', blocks: true },
  { name: 'acmpca.issue-template' },
  { name: 'acmpca.chain-readable' },
  { name: 'acmpca.root-known', blocks: true, field: 'caCert' },
  { name: 'acmpca.ca-valid', blocks: true, field: 'arn' },
];
