import { isIP } from 'node:net';

/** Pieces of Envoy's API that stand in several places of a bootstrap. */

/** An IP address without brackets, or a host name, and a port. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

/** `http`: HTTP/1.1, HTTP/2 and gRPC. `tcp`: anything. */
export type ProxyProtocol = 'http' | 'tcp';

export function typed(type: string, fields: object = {}): object {
  return { '@type': `type.googleapis.com/envoy.${type}`, ...fields };
}

export function socketAddress(host: string, port: number): object {
  return { socket_address: { address: host, port_value: port } };
}

/** Host names are looked up again and again, addresses never. */
export function discoveryType(endpoints: readonly Endpoint[]): 'STATIC' | 'STRICT_DNS' {
  return endpoints.every(({ host }) => isIP(host) !== 0) ? 'STATIC' : 'STRICT_DNS';
}

export function loadAssignment(cluster: string, endpoints: readonly Endpoint[]): object {
  return {
    cluster_name: cluster,
    endpoints: [
      { lb_endpoints: endpoints.map(({ host, port }) => ({ endpoint: { address: socketAddress(host, port) } })) },
    ],
  };
}

/** Goes on with the protocol that the client speaks. */
export const SAME_HTTP_VERSION: object = httpProtocol({
  use_downstream_protocol_config: { http_protocol_options: {}, http2_protocol_options: {} },
});

export function httpProtocol(fields: object): object {
  const name = 'extensions.upstreams.http.v3.HttpProtocolOptions';
  return { typed_extension_protocol_options: { [`envoy.${name}`]: typed(name, fields) } };
}

/** The filter that ends a chain: hands everything to one cluster. */
export function proxyTo(cluster: string, protocol: ProxyProtocol, httpFields: object = {}): object {
  if (protocol === 'tcp') {
    return {
      name: 'envoy.filters.network.tcp_proxy',
      typed_config: typed('extensions.filters.network.tcp_proxy.v3.TcpProxy', { stat_prefix: cluster, cluster }),
    };
  }
  return {
    name: 'envoy.filters.network.http_connection_manager',
    typed_config: typed('extensions.filters.network.http_connection_manager.v3.HttpConnectionManager', {
      stat_prefix: cluster,
      ...httpFields,
      route_config: {
        virtual_hosts: [{ name: cluster, domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster } }] }],
      },
      http_filters: [
        { name: 'envoy.filters.http.router', typed_config: typed('extensions.filters.http.router.v3.Router') },
      ],
    }),
  };
}
