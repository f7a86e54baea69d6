export interface DemoDataplane {
  readonly name: string;
  /** What its certificate has to say that it is. */
  readonly spiffeId: string;
}

export interface DemoMesh {
  readonly name: string;
  /** Type of its backend. */
  readonly type: 'builtin' | 'vault' | 'provided';
  /** In `examples/`. */
  readonly example: string;
  /** Calls `server`. */
  readonly client: DemoDataplane;
  readonly server: DemoDataplane;
  /** Flags of `mesh-ca issue`. The documented Vault policy allows `issue` only: there Vault makes the key. */
  readonly issueFlags: readonly string[];
}

/** What stands in the examples, written down a second time: the demo holds the certificates to it. */
export const MESHES: readonly DemoMesh[] = [
  {
    name: 'payments',
    type: 'builtin',
    example: 'builtin.yaml',
    client: { name: 'checkout-1', spiffeId: 'spiffe://payments/checkout' },
    server: { name: 'ledger-1', spiffeId: 'spiffe://payments/ledger' },
    issueFlags: [],
  },
  {
    name: 'default',
    type: 'vault',
    example: 'vault.yaml',
    client: { name: 'web-1', spiffeId: 'spiffe://default/web_front' },
    server: { name: 'backend-1', spiffeId: 'spiffe://default/backend' },
    issueFlags: ['--key-from-server'],
  },
  {
    name: 'shop',
    type: 'provided',
    example: 'provided.yaml',
    client: { name: 'cart-1', spiffeId: 'spiffe://shop/cart' },
    server: { name: 'stock-1', spiffeId: 'spiffe://shop/stock' },
    issueFlags: [],
  },
];
