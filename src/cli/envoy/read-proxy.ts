import { type Dataplane, type Inbound, parseDataplane, tagsOf } from '../../mesh/dataplane.ts';
import { parseMesh } from '../../mesh/mesh.ts';
import { PROTOCOL_TAG, SERVICE_TAG } from '../../mesh/tags.ts';
import { type ApiClient, type ApiItem, itemSchema } from '../api-client.ts';
import { CliError } from '../cli-error.ts';
import { EXIT } from '../exit-code.ts';
import { ApiError } from '../read-problem.ts';
import type { ProxyInbound } from './inbound.ts';
import type { ProxyOutbound } from './outbound.ts';
import type { Endpoint, ProxyProtocol } from './wire.ts';

/** What mesh-ca knows of a proxy. */
export interface KnownProxy {
  readonly service: string | undefined;
  readonly inbounds: readonly ProxyInbound[];
  readonly outbounds: readonly ProxyOutbound[];
}

/** Endpoints of one service that are written down. */
const MAX_ENDPOINTS = 256;
/** Kuma's protocols that are HTTP; all others are TCP. */
const HTTP_PROTOCOLS = new Set(['http', 'http2', 'grpc']);
const LOOPBACK = '127.0.0.1';

const meshPath = (mesh: string) => `/meshes/${encodeURIComponent(mesh)}`;

/** @throws CliError when the mesh is not there, or its mTLS is off: then nothing would ever come by SDS */
export async function readMode(api: ApiClient, mesh: string): Promise<'strict' | 'permissive'> {
  const { mtls } = parseMesh(await api.call(itemSchema, 'GET', meshPath(mesh)), { name: mesh });
  const enabled = mtls?.backends.find(({ name }) => name === mtls.enabledBackend);
  if (enabled !== undefined) return enabled.mode === 'PERMISSIVE' ? 'permissive' : 'strict';
  throw new CliError(`mTLS of mesh "${mesh}" is off: there are no certificates for its proxies`, {
    exitCode: EXIT.request,
    fix: 'set mtls.enabledBackend in the Mesh and apply it: mesh-ca apply -f FILE',
  });
}

/** The proxy as its Dataplane resource describes it; undefined when there is none. */
export async function readProxy(api: ApiClient, mesh: string, name: string): Promise<KnownProxy | undefined> {
  const path = `${meshPath(mesh)}/dataplanes/${encodeURIComponent(name)}`;
  let item: ApiItem;
  try {
    item = await api.call(itemSchema, 'GET', path);
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return undefined;
    throw error;
  }
  const dataplane = parseDataplane(item, { mesh, name });
  const { networking } = dataplane;
  const outbounds: ProxyOutbound[] = [];
  for (const { address, port, tags } of networking.outbound) {
    const service = tags[SERVICE_TAG];
    if (service === undefined) continue;
    const { endpoints, protocol } = await readService(api, mesh, service);
    outbounds.push({ service, address: address || LOOPBACK, port, endpoints, protocol });
  }
  return {
    service: tagsOf(dataplane).get(SERVICE_TAG)?.[0],
    inbounds: networking.gateway === undefined ? networking.inbound.map((one) => toInbound(dataplane, one)) : [],
    outbounds,
  };
}

function toInbound({ networking }: Dataplane, inbound: Inbound): ProxyInbound {
  return {
    address: inbound.address || networking.address,
    port: inbound.port,
    application: { host: inbound.serviceAddress || LOOPBACK, port: inbound.servicePort || inbound.port },
    protocol: protocolOf(inbound),
  };
}

function protocolOf({ tags }: Inbound): ProxyProtocol {
  return HTTP_PROTOCOLS.has(tags[PROTOCOL_TAG] ?? '') ? 'http' : 'tcp';
}

/** The data planes that serve it now. */
async function readService(
  api: ApiClient,
  mesh: string,
  service: string,
): Promise<{ readonly endpoints: readonly Endpoint[]; readonly protocol: ProxyProtocol }> {
  // The filter finds parts of values, too.
  const tag = encodeURIComponent(`${SERVICE_TAG}:${service}`);
  const items = await api.list(`${meshPath(mesh)}/dataplanes?tag=${tag}`);
  const inbounds = items.flatMap((item) => {
    const { networking } = parseDataplane(item, { mesh, name: String(item.name) });
    const serving = networking.gateway === undefined ? networking.inbound : [];
    return serving
      .filter(({ tags }) => tags[SERVICE_TAG] === service)
      .map((inbound) => ({ inbound, host: inbound.address || networking.address }));
  });
  const [first] = inbounds;
  return {
    endpoints: inbounds.slice(0, MAX_ENDPOINTS).map(({ inbound, host }) => ({ host, port: inbound.port })),
    protocol: first === undefined ? 'tcp' : protocolOf(first.inbound),
  };
}
