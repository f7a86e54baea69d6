import { admitChange, admitNew } from './admission.ts';
import { type CertificateRequest, GROUP_VERSION } from './certificate-request.ts';
import { objectAt, textAt } from './json.ts';
import { applyPatch } from './patch.ts';
import type { RequestStore } from './request-store.ts';
import type { Route } from './routes.ts';
import { type Matcher, parseFieldSelector, parseLabelSelector } from './selectors.ts';
import {
  alreadyExists,
  badRequest,
  continueExpired,
  methodNotAllowed,
  namespaceNotFound,
  notFound,
  preconditionFailed,
  RESOURCE,
  StatusError,
  statusBody,
} from './status.ts';
import { type ClusterUser, NAMESPACES } from './test-cluster.ts';

export interface Call {
  readonly route: Route;
  readonly query: URLSearchParams;
  readonly contentType: string;
  /** Of the header `accept`. */
  readonly accept: string;
  readonly body: unknown;
  readonly user: ClusterUser;
  readonly now: Date;
}

export interface Reply {
  readonly status: number;
  readonly body: unknown;
}

/** Every verb on CertificateRequests but watch. @throws StatusError */
export function handleRequest(store: RequestStore, call: Call): Reply {
  const { route, query, user, now, body } = call;
  const { namespace, name, verb } = route;
  switch (verb) {
    case 'create': {
      if (name !== '' || namespace === '') throw methodNotAllowed();
      if (!NAMESPACES.includes(namespace)) throw namespaceNotFound(namespace);
      const request = admitNew(body, namespace, user, now);
      if (store.find(namespace, request.metadata.name)) throw alreadyExists(request.metadata.name);
      return { status: 201, body: query.get('dryRun') === 'All' ? request : store.add(request) };
    }
    case 'get':
      return { status: 200, body: findRequest(store, route) };
    case 'list':
      return { status: 200, body: inForm(listRequests(store, namespace, query), call.accept) };
    case 'update':
    case 'patch': {
      const before = findRequest(store, route);
      const part = route.subresource === 'status' ? 'status' : 'main';
      const wished = verb === 'patch' ? applyPatch(call.contentType, before, body) : body;
      if (verb === 'update' && textAt(objectAt(wished, 'metadata'), 'resourceVersion') === undefined) {
        throw new StatusError(
          422,
          'Invalid',
          `certificaterequests.cert-manager.io "${name}" is invalid: metadata.resourceVersion: Invalid value: 0x0: must be specified for an update`,
          { name, ...RESOURCE },
        );
      }
      const after = admitChange(before, wished, part);
      return { status: 200, body: isSame(before, after) ? before : store.replace(before, after) };
    }
    case 'delete': {
      const found = findRequest(store, route);
      checkPreconditions(found, body);
      store.remove(found);
      const { uid } = found.metadata;
      return { status: 200, body: statusBody({ status: 'Success', details: { name, ...RESOURCE, uid } }) };
    }
    case 'deletecollection': {
      const list = listRequests(store, namespace, query);
      return { status: 200, body: { ...list, items: list.items.map((found) => store.remove(found)) } };
    }
    default:
      throw methodNotAllowed();
  }
}

/** What the selectors of a list or watch let through. @throws StatusError 400 */
export function matcherOf(namespace: string, query: URLSearchParams): Matcher {
  const labels = parseLabelSelector(query.get('labelSelector') ?? '');
  const fields = parseFieldSelector(query.get('fieldSelector') ?? '');
  return (metadata) => (namespace === '' || metadata.namespace === namespace) && labels(metadata) && fields(metadata);
}

/** `resourceVersion` of a query: 0 and '' are "any". @throws StatusError 400 */
export function versionOf(query: URLSearchParams): number {
  const text = query.get('resourceVersion') ?? '';
  if (!/^\d*$/.test(text)) {
    throw badRequest(`resourceVersion: Invalid value: ${JSON.stringify(text)}: strconv.ParseUint: invalid syntax`);
  }
  return Number(text);
}

/** Names and annotations alone, for who asks for no more. */
function inForm(list: RequestList, accept: string): object {
  if (!/;as=PartialObjectMetadataList;g=meta\.k8s\.io;v=v1(,|$)/.test(accept)) return list;
  const items = list.items.map(({ metadata }) => ({
    apiVersion: 'meta.k8s.io/v1',
    kind: 'PartialObjectMetadata',
    metadata,
  }));
  const names = { ...list, apiVersion: 'meta.k8s.io/v1', kind: 'PartialObjectMetadataList' };
  // As kube-apiserver 1.34 tells an empty list in this form, and in this form only.
  return { ...names, items: items.length === 0 ? null : items };
}

interface RequestList {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: object;
  readonly items: readonly CertificateRequest[];
}

function listRequests(store: RequestStore, namespace: string, query: URLSearchParams): RequestList {
  const matches = matcherOf(namespace, query);
  const version = versionOf(query);
  if (version > store.version) store.checkVersion(version);
  const token = readToken(query.get('continue') ?? '');
  if (token !== undefined && isForgotten(store, token.version)) throw continueExpired();
  const limit = Number(query.get('limit') ?? 0) || Number.POSITIVE_INFINITY;
  const left = store
    .list(namespace)
    .filter(({ metadata }) => matches(metadata))
    .filter(({ metadata }) => token === undefined || keyOf(metadata) > token.after);
  const items = left.slice(0, limit);
  const last = items.at(-1);
  const listVersion = token?.version ?? store.version;
  const isCut = left.length > items.length && last !== undefined;
  const metadata = {
    resourceVersion: String(listVersion),
    ...(isCut && {
      continue: Buffer.from(JSON.stringify({ version: listVersion, after: keyOf(last.metadata) })).toString(
        'base64url',
      ),
      ...(query.get('labelSelector') ? {} : { remainingItemCount: left.length - items.length }),
    }),
  };
  return { apiVersion: GROUP_VERSION, kind: 'CertificateRequestList', metadata, items };
}

const keyOf = (metadata: CertificateRequest['metadata']) => `${metadata.namespace}/${metadata.name}`;

function readToken(text: string): { version: number; after: string } | undefined {
  if (text === '') return undefined;
  try {
    const token: unknown = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
    const version = Number(objectAt({ token }, 'token').version);
    const after = textAt(token, 'after');
    if (after !== undefined && Number.isInteger(version)) return { version, after };
  } catch {
    // Told below.
  }
  throw badRequest('continue key is not valid');
}

function isForgotten(store: RequestStore, version: number): boolean {
  try {
    store.checkVersion(version);
    return false;
  } catch {
    return true;
  }
}

function findRequest(store: RequestStore, { namespace, name }: Route): CertificateRequest {
  const found = store.find(namespace, name);
  if (found === undefined) throw notFound(name);
  return found;
}

function checkPreconditions({ metadata }: CertificateRequest, body: unknown): void {
  const wanted = objectAt(body, 'preconditions');
  const uid = textAt(wanted, 'uid');
  if (uid !== undefined && uid !== metadata.uid) throw preconditionFailed(metadata.name, 'UID', uid, metadata.uid);
  const version = textAt(wanted, 'resourceVersion');
  if (version !== undefined && version !== metadata.resourceVersion) {
    throw preconditionFailed(metadata.name, 'ResourceVersion', version, metadata.resourceVersion);
  }
}

function isSame(before: CertificateRequest, after: CertificateRequest): boolean {
  return JSON.stringify(before) === JSON.stringify(after);
}
