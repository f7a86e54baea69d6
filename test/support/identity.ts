import type { Identity } from '../../src/issuer/issuer.ts';

/** The data plane that most tests ask for. */
export const IDENTITY: Identity = {
  mesh: 'default',
  dataplane: 'web-1',
  tags: new Map([['kuma.io/service', ['web']]]),
  uriSans: ['spiffe://default/web', 'kuma://kuma.io/service/web'],
  dnsNames: [],
  commonName: '',
};
