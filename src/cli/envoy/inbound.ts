import {
  discoveryType,
  type Endpoint,
  loadAssignment,
  type ProxyProtocol,
  proxyTo,
  SAME_HTTP_VERSION,
  socketAddress,
  typed,
} from './wire.ts';

/** One port on which other proxies come in. */
export interface ProxyInbound {
  /** IP address to listen on. */
  readonly address: string;
  readonly port: number;
  /** The application behind it, in plain text. */
  readonly application: Endpoint;
  readonly protocol: ProxyProtocol;
}

const nameOf = ({ port }: ProxyInbound) => `inbound:${port}`;

/** @param transportSocket of mutual TLS */
export function inboundListener(inbound: ProxyInbound, mode: 'strict' | 'permissive', transportSocket: object): object {
  const { address, port, protocol } = inbound;
  // What the application may believe about its caller: our word, never the caller's.
  const caller = { forward_client_cert_details: 'SANITIZE_SET', set_current_client_cert_details: { uri: true } };
  const mutual = { filters: [proxyTo(nameOf(inbound), protocol, caller)], transport_socket: transportSocket };
  const plain = { filters: [proxyTo(nameOf(inbound), protocol)] };
  return {
    name: nameOf(inbound),
    traffic_direction: 'INBOUND',
    address: socketAddress(address, port),
    ...(mode === 'strict'
      ? { filter_chains: [mutual] }
      : {
          listener_filters: [
            {
              name: 'envoy.filters.listener.tls_inspector',
              typed_config: typed('extensions.filters.listener.tls_inspector.v3.TlsInspector'),
            },
          ],
          filter_chains: [
            { filter_chain_match: { transport_protocol: 'tls' }, ...mutual },
            { filter_chain_match: { transport_protocol: 'raw_buffer' }, ...plain },
          ],
        }),
  };
}

export function inboundCluster(inbound: ProxyInbound): object {
  const { application, protocol } = inbound;
  const name = nameOf(inbound);
  return {
    name,
    type: discoveryType([application]),
    connect_timeout: '5s',
    ...(protocol === 'http' ? SAME_HTTP_VERSION : {}),
    load_assignment: loadAssignment(name, [application]),
  };
}
