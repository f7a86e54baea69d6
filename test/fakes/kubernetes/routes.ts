import type { Ask } from './rbac.ts';
import type { Verb } from './test-cluster.ts';

/** A request for a resource, as RBAC and the handlers see it. */
export interface Route extends Ask {
  /** `status`, or ''. */
  readonly subresource: string;
}

const RESOURCE_PATH =
  /^\/(?:api|apis\/([^/]+))\/v[^/]+\/(?:namespaces\/([^/]+)\/)?([^/]+)(?:\/([^/]+)(?:\/([^/]+))?)?$/;
const METHODS: Readonly<Record<string, Verb>> = { POST: 'create', PUT: 'update', PATCH: 'patch' };

/** Undefined: not the path of a resource. */
export function findRoute(method: string, path: string, query: URLSearchParams): Route | undefined {
  const match = RESOURCE_PATH.exec(path);
  if (match === null) return undefined;
  const [group = '', namespace = '', kind = '', name = '', subresource = ''] = match.slice(1).map(decode);
  const resource = subresource === '' ? kind : `${kind}/${subresource}`;
  return { verb: verbOf(method, name, query), group, resource, namespace, name, subresource };
}

function verbOf(method: string, name: string, query: URLSearchParams): Verb {
  if (method === 'GET') {
    if (['true', '1'].includes(query.get('watch') ?? '')) return 'watch';
    return name === '' ? 'list' : 'get';
  }
  if (method === 'DELETE') return name === '' ? 'deletecollection' : 'delete';
  return METHODS[method] ?? 'get';
}

function decode(part: string | undefined): string | undefined {
  return part === undefined ? undefined : decodeURIComponent(part);
}
