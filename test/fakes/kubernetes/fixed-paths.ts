import { isObject, objectAt, textAt } from './json.ts';
import type { Allows } from './rbac.ts';
import type { Reply } from './request-handlers.ts';
import { methodNotAllowed, namespaceNotFound, StatusError } from './status.ts';
import { type ClusterUser, NAMESPACES, type Verb } from './test-cluster.ts';

/** Paths that need no right. */
export const HEALTH_PATHS: readonly string[] = ['/healthz', '/livez', '/readyz'];

const GROUP = {
  name: 'cert-manager.io',
  versions: [{ groupVersion: 'cert-manager.io/v1', version: 'v1' }],
  preferredVersion: { groupVersion: 'cert-manager.io/v1', version: 'v1' },
};
const VERBS = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch'];
const REQUESTS = {
  name: 'certificaterequests',
  singularName: 'certificaterequest',
  namespaced: true,
  kind: 'CertificateRequest',
  verbs: VERBS,
  shortNames: ['cr', 'crs'],
  categories: ['cert-manager'],
};

/** Version and discovery: any user who has logged in may read them. */
const DISCOVERY: Readonly<Record<string, object>> = {
  '/version': { major: '1', minor: '34', gitVersion: 'v1.34.0-fake', platform: 'fake' },
  '/api': { kind: 'APIVersions', versions: ['v1'] },
  '/api/v1': {
    kind: 'APIResourceList',
    groupVersion: 'v1',
    resources: [
      { name: 'namespaces', singularName: 'namespace', namespaced: false, kind: 'Namespace', verbs: ['get', 'list'] },
    ],
  },
  '/apis': { kind: 'APIGroupList', apiVersion: 'v1', groups: [GROUP] },
  '/apis/cert-manager.io': { kind: 'APIGroup', apiVersion: 'v1', ...GROUP },
  '/apis/cert-manager.io/v1': {
    kind: 'APIResourceList',
    apiVersion: 'v1',
    groupVersion: 'cert-manager.io/v1',
    resources: [
      REQUESTS,
      { ...REQUESTS, name: 'certificaterequests/status', singularName: '', verbs: ['get', 'patch', 'update'] },
    ],
  },
};

export const REVIEW_PATH = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews';

export function findDiscovery(path: string): Reply | undefined {
  const body = DISCOVERY[path];
  return body && { status: 200, body };
}

/** What a user asks about its own rights. @throws StatusError 400, 405 */
export function reviewAccess(method: string, user: ClusterUser, allows: Allows, body: unknown): Reply {
  if (method !== 'POST') throw methodNotAllowed();
  const spec = objectAt(body, 'spec');
  const asked = objectAt(spec, 'resourceAttributes');
  if (!isObject(spec.resourceAttributes)) {
    throw new StatusError(
      422,
      'Invalid',
      'exactly one of nonResourceAttributes or resourceAttributes must be specified',
    );
  }
  const text = (key: string) => textAt(asked, key) ?? '';
  const subresource = text('subresource');
  const allowed = allows(user, {
    verb: text('verb') as Verb,
    group: text('group'),
    resource: subresource === '' ? text('resource') : `${text('resource')}/${subresource}`,
    namespace: text('namespace'),
    name: text('name'),
  });
  const answer = { kind: 'SelfSubjectAccessReview', apiVersion: 'authorization.k8s.io/v1', metadata: {} };
  return { status: 201, body: { ...answer, spec, status: { allowed } } };
}

/** Namespaces, read only. @throws StatusError 404, 405 */
export function readNamespaces(verb: Verb, name: string): Reply {
  const one = (namespace: string) => ({
    kind: 'Namespace',
    apiVersion: 'v1',
    metadata: { name: namespace, labels: { 'kubernetes.io/metadata.name': namespace } },
    status: { phase: 'Active' },
  });
  if (verb === 'list') {
    return { status: 200, body: { kind: 'NamespaceList', apiVersion: 'v1', metadata: {}, items: NAMESPACES.map(one) } };
  }
  if (verb !== 'get') throw methodNotAllowed();
  if (!NAMESPACES.includes(name)) throw namespaceNotFound(name);
  return { status: 200, body: one(name) };
}

export function healthReply(): Reply {
  return { status: 200, body: 'ok' };
}
