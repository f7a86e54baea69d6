import { type SdsServer, sdsConfig } from './sds.ts';
import { typed } from './wire.ts';

/** Mutual TLS of one mesh, with certificate, key and roots by SDS. */
export interface MeshTls {
  /** Takes every client of the mesh. */
  inbound(): object;
  /** Takes servers of that service alone. */
  outbound(service: string): object;
}

export function meshTls(mesh: string, sds: SdsServer): MeshTls {
  const config = sdsConfig(sds);
  const trustDomain = `spiffe://${mesh}/`;
  const common = (matcher: object): object => ({
    tls_params: { tls_minimum_protocol_version: 'TLSv1_2', tls_maximum_protocol_version: 'TLSv1_3' },
    tls_certificate_sds_secret_configs: [{ name: sds.identityName ?? 'identity_cert', sds_config: config }],
    combined_validation_context: {
      default_validation_context: { match_typed_subject_alt_names: [{ san_type: 'URI', matcher }] },
      validation_context_sds_secret_config: { name: sds.trustName ?? 'mesh_ca', sds_config: config },
    },
  });
  return {
    inbound: () => ({
      name: 'envoy.transport_sockets.tls',
      typed_config: typed('extensions.transport_sockets.tls.v3.DownstreamTlsContext', {
        require_client_certificate: true,
        common_tls_context: common({ prefix: trustDomain }),
      }),
    }),
    outbound: (service) => ({
      name: 'envoy.transport_sockets.tls',
      typed_config: typed('extensions.transport_sockets.tls.v3.UpstreamTlsContext', {
        common_tls_context: common({ exact: trustDomain + service }),
      }),
    }),
  };
}
