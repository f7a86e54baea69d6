import {
  discoveryType,
  type Endpoint,
  loadAssignment,
  type ProxyProtocol,
  proxyTo,
  SAME_HTTP_VERSION,
  socketAddress,
} from './wire.ts';

/** One port on which the application reaches one service of the mesh. */
export interface ProxyOutbound {
  /** Value of `kuma.io/service` of the data planes behind it: their certificate has to say `spiffe://<mesh>/<service>`. */
  readonly service: string;
  /** IP address to listen on. */
  readonly address: string;
  readonly port: number;
  /** Inbound ports of the service's proxies; at least one. */
  readonly endpoints: readonly Endpoint[];
  readonly protocol: ProxyProtocol;
}

const nameOf = ({ service, port }: ProxyOutbound) => `outbound:${service}:${port}`;

export function outboundListener(outbound: ProxyOutbound): object {
  const { address, port, protocol } = outbound;
  return {
    name: nameOf(outbound),
    traffic_direction: 'OUTBOUND',
    address: socketAddress(address, port),
    filter_chains: [{ filters: [proxyTo(nameOf(outbound), protocol)] }],
  };
}

/** @param transportSocket of mutual TLS */
export function outboundCluster(outbound: ProxyOutbound, transportSocket: object): object {
  const { endpoints, protocol } = outbound;
  const name = nameOf(outbound);
  return {
    name,
    type: discoveryType(endpoints),
    connect_timeout: '5s',
    ...(protocol === 'http' ? SAME_HTTP_VERSION : {}),
    load_assignment: loadAssignment(name, endpoints),
    transport_socket: transportSocket,
  };
}
