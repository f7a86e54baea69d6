import { inboundCluster, inboundListener, type ProxyInbound } from './envoy/inbound.ts';
import { outboundCluster, outboundListener, type ProxyOutbound } from './envoy/outbound.ts';
import { type SdsServer, sdsCluster, tokenSecrets } from './envoy/sds.ts';
import { inboundTls, outboundTls } from './envoy/tls.ts';
import { socketAddress } from './envoy/wire.ts';

export type { ProxyInbound } from './envoy/inbound.ts';
export type { ProxyOutbound } from './envoy/outbound.ts';
export type { SdsServer } from './envoy/sds.ts';

export interface EnvoyBootstrapOptions {
  readonly mesh: string;
  readonly dataplane: string;
  /** `strict`: inbounds take mutual TLS only. `permissive`: plain text, too. */
  readonly mode: 'strict' | 'permissive';
  /** Stands in statistics and logs of Envoy; the name of the data plane when absent. */
  readonly service?: string;
  /** Sent as `node.metadata.tags`, which tell the identity of a data plane without a Dataplane resource. */
  readonly tags?: Readonly<Record<string, readonly string[]>>;
  /** Where certificate, key and roots come from. */
  readonly sds: SdsServer;
  /** Of Envoy's admin interface, on 127.0.0.1; 0 takes a free one (Envoy's `--admin-address-path` tells which). */
  readonly adminPort: number;
  readonly inbounds: readonly ProxyInbound[];
  readonly outbounds: readonly ProxyOutbound[];
}

/**
 * The bootstrap of an Envoy (API v3; tried with 1.40) that is one data plane of a mesh: inbound listeners with mutual TLS that take any client
 * of the mesh, outbound listeners that take the named service for a server alone, and one SDS server for certificate, key and roots.
 *
 * Listeners open, and `/ready` of the admin interface answers 200, once both secrets have come.
 *
 * Holds no secret unless `sds.token` is `inline`. Same options, same object: JSON.stringify of it is stable.
 */
export function envoyBootstrap(options: EnvoyBootstrapOptions): object {
  const { mesh, dataplane, sds, inbounds, outbounds, tags } = options;
  const secrets = tokenSecrets(sds);
  return {
    node: {
      id: `${mesh}.${dataplane}`,
      cluster: options.service ?? dataplane,
      ...(tags === undefined ? {} : { metadata: { tags } }),
    },
    admin: { address: socketAddress('127.0.0.1', options.adminPort) },
    static_resources: {
      ...(secrets.length === 0 ? {} : { secrets }),
      listeners: [
        ...inbounds.map((inbound) => inboundListener(inbound, options.mode, inboundTls(mesh, sds))),
        ...outbounds.map(outboundListener),
      ],
      clusters: [
        sdsCluster(sds),
        ...inbounds.map(inboundCluster),
        ...outbounds.map((outbound) => outboundCluster(outbound, outboundTls(mesh, outbound.service, sds))),
      ],
    },
  };
}
