import type { VaultConf } from './config.ts';

const DEFAULT_PORTS: Readonly<Record<string, string>> = { 'http:': '80', 'https:': '443' };

/** Where calls go, however the conf writes it: the origin in lower case with its port, a path in front of `/v1`, the namespace behind `#`. */
export function endpointOf({ endpoint, namespace }: Pick<VaultConf, 'endpoint' | 'namespace'>): string {
  const { protocol, hostname, port, pathname } = new URL(endpoint);
  const origin = `${protocol}//${hostname.toLowerCase()}:${port || DEFAULT_PORTS[protocol]}`;
  const place = pathname === '/' ? origin : `${origin}${pathname}`;
  return namespace === '' ? place : `${place}#${namespace}`;
}
