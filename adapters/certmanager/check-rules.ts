import type { CheckRule } from '../../src/issuer/issuer.ts';

/** What `inspect` looks at, in order. */
export const CHECK_RULES: readonly CheckRule[] = [
  { name: 'certmanager.kubeconfig-loaded', blocks: true },
  { name: 'certmanager.address-reachable', blocks: true },
  { name: 'certmanager.clock' },
  { name: 'certmanager.credentials-accepted', blocks: true },
  { name: 'certmanager.namespace', blocks: true },
  { name: 'certmanager.crd-installed', blocks: true },
  { name: 'certmanager.rights', blocks: true },
  { name: 'certmanager.issuer-named', field: 'issuerRef' },
  { name: 'certmanager.root-known', blocks: true, field: 'caCert' },
  { name: 'certmanager.ca-valid', field: 'caCert' },
];
