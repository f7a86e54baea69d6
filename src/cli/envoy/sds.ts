import { isIP } from 'node:net';
import { discoveryType, type Endpoint, httpProtocol, loadAssignment, typed } from './wire.ts';

/** How Envoy reaches mesh-ca's Secret Discovery Service, and proves which data plane it is. */
export interface SdsServer extends Endpoint {
  /** PEM file of the CA of the server's certificate, which has to name `host`. Absent: plain text, for loopback alone. */
  readonly caFile?: string;
  /** The data plane token, with `sdsAuth: token`; the file is read when Envoy starts, `inline` makes the bootstrap a secret. */
  readonly token?: { readonly file: string } | { readonly inline: string };
  /** PEM files with `sdsAuth: mtls`. */
  readonly client?: { readonly certificateFile: string; readonly keyFile: string };
  /** Incremental streams (DeltaSecrets) instead of whole states. */
  readonly delta?: boolean;
  /** Name of the secret with certificate and key (`sdsIdentityName`): `identity_cert` when absent. */
  readonly identityName?: string;
  /** Name of the secret with the roots (`sdsTrustName`): `mesh_ca` when absent. */
  readonly trustName?: string;
}

const CLUSTER = 'mesh-ca';
const TOKEN_SECRET = 'dataplane-token';

/**
 * One for all secrets: Envoy takes configurations of different bytes for different servers, and asks each for the same secrets
 * (envoyproxy/envoy#47309).
 */
export function sdsConfig({ delta, token }: SdsServer): object {
  const metadata = token !== undefined && 'inline' in token ? [authorization(token.inline)] : [];
  return {
    resource_api_version: 'V3',
    // Wait for ever: an Envoy without certificate is not ready.
    initial_fetch_timeout: '0s',
    api_config_source: {
      api_type: delta ? 'DELTA_GRPC' : 'GRPC',
      transport_api_version: 'V3',
      set_node_on_first_message_only: true,
      grpc_services: [
        {
          envoy_grpc: {
            cluster_name: CLUSTER,
            retry_policy: { retry_back_off: { base_interval: '0.5s', max_interval: '5s' } },
          },
          ...(metadata.length === 0 ? {} : { initial_metadata: metadata }),
        },
      ],
    },
  };
}

const authorization = (token: string): object => ({ key: 'authorization', value: `Bearer ${token}` });

/** The token as a secret of Envoy's own, so that it stands in no configuration dump. */
export function tokenSecrets({ token }: SdsServer): object[] {
  if (token === undefined || !('file' in token)) return [];
  return [{ name: TOKEN_SECRET, generic_secret: { secret: { filename: token.file } } }];
}

export function sdsCluster(sds: SdsServer): object {
  return {
    name: CLUSTER,
    type: discoveryType([sds]),
    connect_timeout: '5s',
    ...httpProtocol({
      explicit_http_config: {
        // A stream may be silent for weeks: find out when its server is gone.
        http2_protocol_options: { connection_keepalive: { interval: '30s', timeout: '10s' } },
      },
      ...(sds.token !== undefined && 'file' in sds.token ? { http_filters: TOKEN_FILTERS } : {}),
    }),
    load_assignment: loadAssignment(CLUSTER, [sds]),
    ...(sds.caFile === undefined ? {} : { transport_socket: serverTls(sds, sds.caFile) }),
  };
}

const TOKEN_FILTERS: readonly object[] = [
  {
    name: 'envoy.filters.http.credential_injector',
    typed_config: typed('extensions.filters.http.credential_injector.v3.CredentialInjector', {
      overwrite: true,
      credential: {
        name: 'envoy.http.injected_credentials.generic',
        typed_config: typed('extensions.http.injected_credentials.generic.v3.Generic', {
          credential: { name: TOKEN_SECRET },
          header_value_prefix: 'Bearer ',
        }),
      },
    }),
  },
  {
    name: 'envoy.filters.http.upstream_codec',
    typed_config: typed('extensions.filters.http.upstream_codec.v3.UpstreamCodec'),
  },
];

function serverTls({ host, client }: SdsServer, caFile: string): object {
  const isAddress = isIP(host) !== 0;
  return {
    name: 'envoy.transport_sockets.tls',
    typed_config: typed('extensions.transport_sockets.tls.v3.UpstreamTlsContext', {
      ...(isAddress ? {} : { sni: host }),
      common_tls_context: {
        tls_params: { tls_minimum_protocol_version: 'TLSv1_2', tls_maximum_protocol_version: 'TLSv1_3' },
        alpn_protocols: ['h2'],
        ...(client === undefined
          ? {}
          : {
              tls_certificates: [
                { certificate_chain: { filename: client.certificateFile }, private_key: { filename: client.keyFile } },
              ],
            }),
        validation_context: {
          trusted_ca: { filename: caFile },
          match_typed_subject_alt_names: [{ san_type: isAddress ? 'IP_ADDRESS' : 'DNS', matcher: { exact: host } }],
        },
      },
    }),
  };
}
