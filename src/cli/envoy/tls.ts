import { type SdsServer, sdsConfig } from './sds.ts';
import { typed } from './wire.ts';

/** Of the URI SAN of the other side: Envoy's StringMatcher. */
export type SpiffeIdMatcher = { readonly exact: string } | { readonly prefix: string };

/** Envoy's `CommonTlsContext`: certificate, key and roots by SDS, and only peers that one of the matchers takes. */
export function sdsTlsContext(sds: SdsServer, peers: readonly SpiffeIdMatcher[]): object {
  const config = sdsConfig(sds);
  return {
    tls_params: { tls_minimum_protocol_version: 'TLSv1_2', tls_maximum_protocol_version: 'TLSv1_3' },
    tls_certificate_sds_secret_configs: [{ name: sds.identityName ?? 'identity_cert', sds_config: config }],
    combined_validation_context: {
      default_validation_context: {
        match_typed_subject_alt_names: peers.map((matcher) => ({ san_type: 'URI', matcher })),
      },
      validation_context_sds_secret_config: { name: sds.trustName ?? 'mesh_ca', sds_config: config },
    },
  };
}

/** Mutual TLS that takes every client of the mesh. */
export function inboundTls(mesh: string, sds: SdsServer): object {
  return {
    name: 'envoy.transport_sockets.tls',
    typed_config: typed('extensions.transport_sockets.tls.v3.DownstreamTlsContext', {
      require_client_certificate: true,
      common_tls_context: sdsTlsContext(sds, [{ prefix: `spiffe://${mesh}/` }]),
    }),
  };
}

/** Mutual TLS that takes servers of one service alone. */
export function outboundTls(mesh: string, service: string, sds: SdsServer): object {
  return {
    name: 'envoy.transport_sockets.tls',
    typed_config: typed('extensions.transport_sockets.tls.v3.UpstreamTlsContext', {
      common_tls_context: sdsTlsContext(sds, [{ exact: `spiffe://${mesh}/${service}` }]),
    }),
  };
}
