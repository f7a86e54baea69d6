import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import { GROUP_VERSION } from '../test/fakes/kubernetes/certificate-request.ts';
import { ApiError, type ClusterClient } from '../test/fakes/kubernetes/cluster-client.ts';
import { isObject, type JsonObject, objectAt, textAt } from '../test/fakes/kubernetes/json.ts';
import { createRbac, readDocuments } from '../test/fakes/kubernetes/rbac.ts';
import {
  type ClusterCounts,
  type ClusterUser,
  NAMESPACES,
  SYSTEM_NAMESPACE,
  USERS,
  type Verb,
} from '../test/fakes/kubernetes/test-cluster.ts';
import { pollUntil } from './server-process.ts';

const CRD_FILE = new URL('../test/fakes/kubernetes/certificaterequests-crd.yaml', import.meta.url);
const CRDS = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
const RBAC_API = '/apis/rbac.authorization.k8s.io/v1';
const REVIEWS = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews';
const IN_FORCE_WITHIN_MS = 20_000;
const VERBS: readonly Verb[] = ['create', 'get', 'list', 'watch', 'update', 'patch', 'delete', 'deletecollection'];

/** Makes the namespaces and the kind CertificateRequest; returns when it is served. */
export async function installResources(admin: ClusterClient): Promise<void> {
  await apply(admin, CRDS, parse(await readFile(CRD_FILE, 'utf8')));
  for (const name of NAMESPACES) {
    await apply(admin, '/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
  }
  await pollUntil(IN_FORCE_WITHIN_MS, async () => {
    const reply = await admin.request('GET', `/apis/${GROUP_VERSION}/certificaterequests`);
    return reply.status === 200;
  });
  // The first creation of a new kind takes two seconds; nobody's test shall.
  const warmUp = { apiVersion: GROUP_VERSION, kind: 'CertificateRequest', metadata: { name: 'warm-up' } };
  const spec = { request: 'AAAA', issuerRef: { name: 'warm-up' } };
  const namespace = `/apis/${GROUP_VERSION}/namespaces/${SYSTEM_NAMESPACE}`;
  await must(admin, 'POST', `${namespace}/certificaterequests?dryRun=All`, { ...warmUp, spec });
}

/** `setRbac` of a real server: the documents replace those of the call before. `mesh` is the user that the documents are about. */
export function replaceRbac(admin: ClusterClient, mesh: ClusterClient): (yaml: string) => Promise<void> {
  let applied: string[] = [];
  return async (yaml) => {
    for (const path of applied) await must(admin, 'DELETE', path);
    applied = [];
    for (const document of readDocuments(yaml)) {
      const path = pathOf(document);
      await apply(admin, path, document);
      applied.push(`${path}/${textAt(document.metadata, 'name')}`);
    }
    await pollUntil(IN_FORCE_WITHIN_MS, () => isInForce(mesh, yaml));
  };
}

const PLURALS: Readonly<Record<string, string>> = {
  Role: 'roles',
  RoleBinding: 'rolebindings',
  ClusterRole: 'clusterroles',
  ClusterRoleBinding: 'clusterrolebindings',
};

function pathOf(document: JsonObject): string {
  const plural = PLURALS[String(document.kind)];
  if (plural === undefined) throw new Error(`${String(document.kind)} is no RBAC document`);
  const namespace = textAt(document.metadata, 'namespace');
  return namespace === undefined ? `${RBAC_API}/${plural}` : `${RBAC_API}/namespaces/${namespace}/${plural}`;
}

/** The server learns of roles a moment after they are written: it is asked until it judges as the documents say. */
async function isInForce(mesh: ClusterClient, yaml: string): Promise<boolean> {
  const allows = createRbac(yaml);
  const user: ClusterUser | undefined = USERS.find(({ name }) => name === 'mesh-ca');
  if (user === undefined) return true;
  for (const verb of VERBS) {
    const asked = { group: 'cert-manager.io', resource: 'certificaterequests', namespace: SYSTEM_NAMESPACE, verb };
    const reply = await mesh.request('POST', REVIEWS, {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SelfSubjectAccessReview',
      spec: { resourceAttributes: asked },
    });
    if (objectAt(reply.body, 'status').allowed !== allows(user, { ...asked, name: '' })) return false;
  }
  return true;
}

async function apply(admin: ClusterClient, path: string, document: unknown): Promise<void> {
  if (!isObject(document)) throw new TypeError('not a document');
  await must(admin, 'POST', path, document, [409]);
}

async function must(
  admin: ClusterClient,
  method: string,
  path: string,
  body?: unknown,
  alsoGood: readonly number[] = [],
): Promise<void> {
  const reply = await admin.request(method, path, body);
  if (reply.status > 299 && !alsoGood.includes(reply.status)) throw new ApiError(`${method} ${path}`, reply);
}

const METRIC_LINE = /^(apiserver_request_total|apiserver_longrunning_requests)\{([^}]*)\} (\S+)$/gm;
/** The verbs of the server's metrics. The controller lists, watches and patches `/status` only; `admin` counts, too. */
const METRIC_VERBS: Readonly<Record<string, Verb>> = {
  POST: 'create',
  GET: 'get',
  LIST: 'list',
  WATCH: 'watch',
  PUT: 'update',
  PATCH: 'patch',
  DELETE: 'delete',
  DELETECOLLECTION: 'deletecollection',
};

/**
 * What the server has counted itself, since it was started. The controller watches all namespaces and writes the status alone, so that it
 * can be told apart; `admin` cannot.
 */
export async function readCounts(admin: ClusterClient): Promise<ClusterCounts> {
  const metrics = String((await admin.request('GET', '/metrics')).body);
  const requests = Object.fromEntries(VERBS.map((verb) => [verb, 0])) as Record<Verb, number>;
  let watchesOpen = 0;
  for (const [, name, labelText = '', value] of metrics.matchAll(METRIC_LINE)) {
    const labels = new Map([...labelText.matchAll(/(\w+)="([^"]*)"/g)].map(([, key = '', text = '']) => [key, text]));
    if (labels.get('resource') !== 'certificaterequests' || labels.get('subresource') !== '') continue;
    if (labels.get('scope') === 'cluster') continue;
    const verb = METRIC_VERBS[labels.get('verb') ?? ''];
    if (verb === undefined) continue;
    if (name === 'apiserver_request_total') requests[verb] += Number(value);
    else if (verb === 'watch') watchesOpen += Number(value);
  }
  return { requests, watchesOpen };
}
