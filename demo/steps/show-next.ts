import type { Demo } from '../demo.ts';

/** Commands that work as they stand, from the root of the checkout. */
const WITH_THE_DEMO_RUNNING = (address: string): readonly string[] => [
  `export MESH_CA_ADDRESS=${address}`,
  'npx mesh-ca get meshes',
  'npx mesh-ca inspect dataplanes -m default',
  'npx mesh-ca validate shop',
  'npx mesh-ca issue ledger-1 -m payments --out certs',
  'openssl verify -CAfile certs/ca.crt certs/ledger-1.crt',
  'npx mesh-ca issue backend-1 -m default --key-from-server --out certs-vault',
  'curl -s $MESH_CA_ADDRESS/meshes/shop/_trust-bundle',
];

const WITH_A_SERVER_OF_YOUR_OWN: readonly string[] = [
  'npx mesh-ca serve                                  # in another terminal; Ctrl-C ends it',
  'npx mesh-ca apply -f examples/builtin.yaml',
  'npx mesh-ca issue ledger-1 -m payments --out certs',
  'openssl verify -CAfile certs/ca.crt certs/ledger-1.crt',
  'npx mesh-ca inspect dataplanes -m payments',
  'npx mesh-ca validate payments',
  'npm run demo -- --keep                             # all three meshes, up until Ctrl-C',
];

export function showNext({ screen }: Demo, address: string, keep: boolean): void {
  screen.heading(keep ? 'Try, in another terminal, while this one stays open:' : 'Try next:');
  for (const command of keep ? WITH_THE_DEMO_RUNNING(address) : WITH_A_SERVER_OF_YOUR_OWN) screen.plain(`  ${command}`);
  screen.plain('\nYour own Vault: docs/vault.md. Your own CA: docs/provided-ca.md.');
}
