type Json = object;

/** Where a proxy has its certificate and its roots from. */
export interface SecretSource {
  /** Secrets of the proxy's own, such as the token by which it proves itself. */
  readonly secrets: readonly Json[];
  /** Servers that it fetches them from. */
  readonly clusters: readonly Json[];
  /** A `CommonTlsContext` that takes only peers with one of these SPIFFE IDs. */
  tlsContext(peerIds: readonly string[]): Json;
}

export interface PeerRoute {
  /** Path prefix and part of cluster names. */
  readonly name: string;
  readonly port: number;
  readonly spiffeId: string;
}

export interface ProxyOptions {
  readonly node: Json;
  readonly secrets: SecretSource;
  /** Port for mutual TLS. */
  readonly inboundPort: number;
  /** Where its own service listens, in plain HTTP. */
  readonly servicePort: number;
  /** Who may call it. */
  readonly callerIds: readonly string[];
  readonly peers: readonly PeerRoute[];
}

export const INBOUND = 'inbound';
export const EGRESS = 'egress';

const HOST = '127.0.0.1';
const TYPE = 'type.googleapis.com/envoy.extensions';
/** Whether a connection to a peer is used again. Of those that are not, every request is a TLS handshake. */
const MODES = ['kept', 'new'] as const;
export type ConnectionMode = (typeof MODES)[number];

/** The path by which the egress listener finds peer and kind of connection. */
export function egressPath(peer: string, mode: ConnectionMode, path: string): string {
  return `/${peer}/${mode}/${path}`;
}

/**
 * Bootstrap of a sidecar: an inbound listener that wants a certificate of the mesh, and an egress listener in plain HTTP that calls the peers over mutual TLS,
 * both checking who the other is. Nothing is tried twice: what fails is seen.
 */
export function proxyBootstrap(options: ProxyOptions): Readonly<Record<string, unknown>> {
  const { node, secrets, peers } = options;
  return {
    node,
    static_resources: {
      secrets: secrets.secrets,
      listeners: [inbound(options), egress(peers)],
      clusters: [
        ...secrets.clusters,
        cluster('service', options.servicePort, {}),
        ...peers.flatMap((peer) => MODES.map((mode) => peerCluster(peer, mode, secrets))),
      ],
    },
  };
}

function inbound({ inboundPort, callerIds, secrets }: ProxyOptions): Json {
  const routes = [{ match: { prefix: '/' }, route: { cluster: 'service', timeout: '0s' } }];
  return {
    name: INBOUND,
    address: socketAddress(inboundPort),
    filter_chains: [
      {
        filters: [
          connectionManager(INBOUND, routes, {
            // The service is told who called: what the caller says of it does not count.
            forward_client_cert_details: 'SANITIZE_SET',
            set_current_client_cert_details: { uri: true },
          }),
        ],
        transport_socket: {
          name: 'envoy.transport_sockets.tls',
          typed_config: {
            '@type': `${TYPE}.transport_sockets.tls.v3.DownstreamTlsContext`,
            require_client_certificate: true,
            common_tls_context: secrets.tlsContext(callerIds),
          },
        },
      },
    ],
  };
}

function egress(peers: readonly PeerRoute[]): Json {
  const routes = peers.flatMap(({ name }) =>
    MODES.map((mode) => ({
      match: { prefix: egressPath(name, mode, '') },
      route: { cluster: `${name}-${mode}`, timeout: '0s', prefix_rewrite: '/' },
    })),
  );
  return {
    name: EGRESS,
    address: socketAddress(0),
    filter_chains: [
      { filters: [connectionManager(EGRESS, routes, { local_reply_config: { body_format: FAILURE_TEXT } })] },
    ],
  };
}

/** What the caller is told when a peer cannot be reached: the details hold TLS's own reason. */
const FAILURE_TEXT: Json = { text_format_source: { inline_string: '%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%' } };

function connectionManager(name: string, routes: readonly Json[], more: Json): Json {
  return {
    name: 'envoy.filters.network.http_connection_manager',
    typed_config: {
      '@type': `${TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
      stat_prefix: name,
      // A stream may be silent for as long as it likes.
      stream_idle_timeout: '0s',
      route_config: { virtual_hosts: [{ name, domains: ['*'], routes }] },
      http_filters: [
        {
          name: 'envoy.filters.http.router',
          typed_config: { '@type': `${TYPE}.filters.http.router.v3.Router` },
        },
      ],
      ...more,
    },
  };
}

function peerCluster({ name, port, spiffeId }: PeerRoute, mode: ConnectionMode, { tlsContext }: SecretSource): Json {
  return cluster(`${name}-${mode}`, port, {
    transport_socket: {
      name: 'envoy.transport_sockets.tls',
      typed_config: {
        '@type': `${TYPE}.transport_sockets.tls.v3.UpstreamTlsContext`,
        common_tls_context: tlsContext([spiffeId]),
        // A resumed session shows no certificate.
        max_session_keys: 0,
      },
    },
    ...(mode === 'kept' ? {} : ONE_REQUEST_EACH),
  });
}

const ONE_REQUEST_EACH: Json = {
  typed_extension_protocol_options: {
    'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
      '@type': `${TYPE}.upstreams.http.v3.HttpProtocolOptions`,
      common_http_protocol_options: { max_requests_per_connection: 1 },
      explicit_http_config: { http_protocol_options: {} },
    },
  },
};

function cluster(name: string, port: number, more: Json): Json {
  const endpoint = { address: socketAddress(port) };
  return {
    name,
    // A busy machine is no failure of the mesh.
    connect_timeout: '20s',
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint }] }] },
    ...more,
  };
}

function socketAddress(port: number): Json {
  return { socket_address: { address: HOST, port_value: port } };
}

/** What `match_typed_subject_alt_names` needs to take any of these SPIFFE IDs and nobody else. */
export function exactSpiffeIds(ids: readonly string[]): readonly Json[] {
  return ids.map((exact) => ({ san_type: 'URI', matcher: { exact } }));
}

/** Certificate, key and roots as text in the bootstrap. */
export function staticSecrets(pem: {
  readonly chain: string;
  readonly key: string;
  readonly roots: string;
}): SecretSource {
  return {
    secrets: [],
    clusters: [],
    tlsContext: (peerIds) => ({
      tls_certificates: [{ certificate_chain: { inline_string: pem.chain }, private_key: { inline_string: pem.key } }],
      validation_context: {
        trusted_ca: { inline_string: pem.roots },
        match_typed_subject_alt_names: exactSpiffeIds(peerIds),
      },
    }),
  };
}
