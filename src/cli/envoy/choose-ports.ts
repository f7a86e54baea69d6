import { usage } from '../client-options.ts';
import type { ProxyInbound } from './inbound.ts';
import type { ProxyOutbound } from './outbound.ts';
import type { KnownProxy } from './read-proxy.ts';
import type { Endpoint, ProxyProtocol } from './wire.ts';

/** What is typed, which goes before what the Dataplane says. */
export interface PortOptions {
  readonly protocol?: ProxyProtocol;
  readonly inboundAddress?: string;
  readonly inboundPort?: number;
  readonly serviceAddress?: string;
  readonly servicePort?: number;
  readonly outboundService?: string;
  readonly outboundPort?: number;
  readonly outboundAddress?: Endpoint;
}

const LOOPBACK = '127.0.0.1';
const ANY_ADDRESS = new Set(['0.0.0.0', '::']);

/** @throws CliError when a port is missing, or an inbound would hand everything to itself */
export function chooseInbounds(
  options: PortOptions,
  known: KnownProxy | undefined,
  dataplane: string,
): readonly ProxyInbound[] {
  const found = known?.inbounds ?? [];
  const inbounds = (typedInbounds(options, found, dataplane) ?? found).map((one) => withProtocol(one, options));
  const loop = inbounds.find(
    ({ address, port, application: { host, port: own } }) =>
      own === port && (host === address || ANY_ADDRESS.has(address)),
  );
  if (loop === undefined) return inbounds;
  throw usage(
    `the inbound ${loop.address}:${loop.port} would hand everything to itself`,
    'name the port of the application: --service-port PORT, or servicePort in the Dataplane',
  );
}

function typedInbounds(
  { inboundAddress, inboundPort, serviceAddress, servicePort }: PortOptions,
  found: readonly ProxyInbound[],
  dataplane: string,
): readonly ProxyInbound[] | undefined {
  if ([inboundAddress, inboundPort, serviceAddress, servicePort].every((typed) => typed === undefined))
    return undefined;
  if (found.length > 1) {
    throw usage(
      `the Dataplane ${dataplane} has ${found.length} inbounds, so that one address or port says nothing`,
      'leave out --inbound-* and --service-*, and change the Dataplane',
    );
  }
  const [known] = found;
  const port = inboundPort ?? known?.port;
  if (port === undefined) throw usage('nobody knows the port for other proxies', 'name it: --inbound-port PORT');
  return [
    {
      address: inboundAddress ?? known?.address ?? LOOPBACK,
      port,
      application: {
        host: serviceAddress ?? known?.application.host ?? LOOPBACK,
        port: servicePort ?? known?.application.port ?? port,
      },
      protocol: known?.protocol ?? 'tcp',
    },
  ];
}

/** @throws CliError when an outbound is typed in part */
export function chooseOutbounds(options: PortOptions, known: KnownProxy | undefined): readonly ProxyOutbound[] {
  const { outboundService: service, outboundPort: port, outboundAddress: endpoint } = options;
  if (service === undefined && port === undefined && endpoint === undefined) {
    return (known?.outbounds ?? []).map((one) => withProtocol(one, options));
  }
  if (service !== undefined && port !== undefined && endpoint !== undefined) {
    return [withProtocol({ service, address: LOOPBACK, port, endpoints: [endpoint], protocol: 'tcp' }, options)];
  }
  throw usage(
    'of an outbound, service, port and address are needed',
    '--outbound-service NAME --outbound-port PORT --outbound-address HOST:PORT',
  );
}

function withProtocol<L extends { readonly protocol: ProxyProtocol }>(listener: L, { protocol }: PortOptions): L {
  return protocol === undefined ? listener : { ...listener, protocol };
}
