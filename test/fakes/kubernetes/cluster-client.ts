import type http from 'node:http';
import https from 'node:https';
import { type CertificateRequest, type CertificateRequestStatus, GROUP_VERSION } from './certificate-request.ts';
import { isObject, objectAt, textAt } from './json.ts';
import { readKubeconfig } from './kubeconfig.ts';

export interface ListOptions {
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

export type NewCertificateRequest = Pick<CertificateRequest, 'spec'> & {
  readonly metadata: Partial<CertificateRequest['metadata']>;
};

export interface ApiReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** Parsed JSON; text when it is none. */
  readonly body: unknown;
}

export interface WatchEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  readonly object: CertificateRequest;
}

/** CertificateRequests, for tests and for the controller. A status over 299 is an `ApiError`. */
export interface ClusterClient {
  create(request: NewCertificateRequest): Promise<CertificateRequest>;
  get(name: string): Promise<CertificateRequest>;
  list(options?: ListOptions): Promise<CertificateRequest[]>;
  /** Merge patch of the status subresource. */
  patchStatus(name: string, status: CertificateRequestStatus): Promise<CertificateRequest>;
  delete(name: string): Promise<void>;
  /** Every CertificateRequest there is, and the version to watch from. */
  listAll(): Promise<{ readonly items: readonly CertificateRequest[]; readonly resourceVersion: string }>;
  /** Follows all namespaces until the stream ends, in whatever way, or `signal` fires. @throws ApiError when it does not begin */
  watchAll(resourceVersion: string, onEvent: (event: WatchEvent) => void, signal: AbortSignal): Promise<void>;
  /** `watchAll` of any path. */
  follow(path: string, onEvent: (event: WatchEvent) => void, signal: AbortSignal): Promise<void>;
  /** Any other request. `path` begins with `/`. Never throws because of a status. */
  request(method: string, path: string, body?: unknown, headers?: Readonly<Record<string, string>>): Promise<ApiReply>;
  /** Ends its connections. New ones are opened when they are needed: after a restart of the server. Idempotent. */
  close(): void;
}

export class ApiError extends Error {
  readonly status: number;
  readonly body: unknown;

  constructor(what: string, { status, body }: Pick<ApiReply, 'status' | 'body'>) {
    super(`${what} answered ${status}: ${textAt(body, 'message') ?? String(body).slice(0, 200)}`);
    this.status = status;
    this.body = body;
  }
}

const MAX_CONNECTIONS = 16;
const REQUESTS = `/apis/${GROUP_VERSION}/certificaterequests`;

/** A client that logs in by a kubeconfig and works in one namespace. */
export async function createClusterClient(kubeconfig: string, namespace: string): Promise<ClusterClient> {
  const { address, caCertPem, token } = await readKubeconfig(kubeconfig);
  const agent = new https.Agent({ keepAlive: true, maxSockets: MAX_CONNECTIONS, ca: caCertPem });
  // Of its own: a watch never gives its connection back.
  const watchAgent = new https.Agent({ keepAlive: false, ca: caCertPem });
  const inNamespace = `/apis/${GROUP_VERSION}/namespaces/${namespace}/certificaterequests`;
  const at = (name: string) => `${inNamespace}/${encodeURIComponent(name)}`;

  function send(
    method: string,
    path: string,
    options: { body?: unknown; headers?: Readonly<Record<string, string>>; signal?: AbortSignal; isWatch?: boolean },
  ): Promise<http.IncomingMessage> {
    const body = options.body === undefined ? undefined : Buffer.from(JSON.stringify(options.body));
    return new Promise((resolve, reject) => {
      const request = https.request(`${address}${path}`, {
        method,
        agent: options.isWatch ? watchAgent : agent,
        headers: {
          authorization: `Bearer ${token}`,
          ...(body && { 'content-type': 'application/json', 'content-length': body.length }),
          ...options.headers,
        },
        ...(options.signal && { signal: options.signal }),
      });
      request.once('response', resolve).once('error', reject).end(body);
    });
  }

  const request: ClusterClient['request'] = async (method, path, body, headers = {}) => {
    const response = await send(method, path, { body, headers });
    const { statusCode = 0 } = response;
    return { status: statusCode, headers: response.headers, body: parse(await readAll(response)) };
  };

  async function must(
    method: string,
    path: string,
    body?: unknown,
    headers?: Readonly<Record<string, string>>,
  ): Promise<unknown> {
    const reply = await request(method, path, body, headers);
    if (reply.status > 299) throw new ApiError(`${method} ${path}`, reply);
    return reply.body;
  }

  const follow: ClusterClient['follow'] = async (path, onEvent, signal) => {
    const response = await send('GET', path, { signal, isWatch: true });
    if (response.statusCode !== 200) {
      throw new ApiError(`GET ${path}`, { status: response.statusCode ?? 0, body: parse(await readAll(response)) });
    }
    await readLines(response, (line) => {
      const event = parse(line);
      if (isObject(event) && isObject(event.object)) onEvent(event as unknown as WatchEvent);
    });
  };

  return {
    create: async (wish) =>
      asRequest(await must('POST', inNamespace, { apiVersion: GROUP_VERSION, kind: 'CertificateRequest', ...wish })),
    get: async (name) => asRequest(await must('GET', at(name))),
    list: async (options = {}) => {
      const query = new URLSearchParams({ ...options }).toString();
      return itemsOf(await must('GET', `${inNamespace}?${query}`));
    },
    patchStatus: async (name, status) =>
      asRequest(
        await must('PATCH', `${at(name)}/status`, { status }, { 'content-type': 'application/merge-patch+json' }),
      ),
    delete: async (name) => {
      await must('DELETE', at(name));
    },
    listAll: async () => {
      const list = await must('GET', REQUESTS);
      return { items: itemsOf(list), resourceVersion: textAt(objectAt(list, 'metadata'), 'resourceVersion') ?? '' };
    },
    watchAll: (resourceVersion, onEvent, signal) =>
      follow(`${REQUESTS}?watch=true&allowWatchBookmarks=true&resourceVersion=${resourceVersion}`, onEvent, signal),
    follow,
    request,
    close() {
      agent.destroy();
      watchAgent.destroy();
    },
  };
}

async function readAll(response: http.IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks).toString('utf8');
}

/** Resolves when the stream ends, also by a reset or an abort: who watches goes on from the last version either way. */
function readLines(response: http.IncomingMessage, onLine: (line: string) => void): Promise<void> {
  let rest = '';
  response.setEncoding('utf8').on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) onLine(line);
  });
  return new Promise((resolve) => {
    response.on('error', () => {}).once('close', resolve);
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function itemsOf(list: unknown): CertificateRequest[] {
  const items = isObject(list) ? list.items : undefined;
  return Array.isArray(items) ? items.map(asRequest) : [];
}

function asRequest(body: unknown): CertificateRequest {
  if (!isObject(body) || !isObject(body.metadata) || !isObject(body.spec)) throw new TypeError('no CertificateRequest');
  return body as unknown as CertificateRequest;
}
