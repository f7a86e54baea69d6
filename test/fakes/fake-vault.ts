import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import https from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { ServerCertificate } from '../../testcontainers/server-certificate.ts';
import { createFakePki, type FakePki } from './fake-pki.ts';

/** One request as it arrived. */
export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: Readonly<Record<string, unknown>>;
}

/** An answer in place of Vault's own; `hang` never answers. */
export type Fault =
  | 'hang'
  | { readonly status: number; readonly headers?: Record<string, string>; readonly body?: string };

export interface FakeVault {
  readonly address: string;
  readonly token: string;
  /** Oldest first. */
  readonly seen: readonly SeenRequest[];
  readonly pki: FakePki;
  /** Capabilities by path, as policies would give them; a path that is not there is denied. May be changed. */
  readonly grants: Map<string, readonly string[]>;
  /** Tokens have Vault's policy `default`. */
  hasDefaultPolicy: boolean;
  isSealed: boolean;
  /** False: it answers as a sealed one, but for `sys/health`. */
  isInitialised: boolean;
  /** What `sys/health` says beside that. */
  health: Readonly<Record<string, unknown>>;
  /** What `sys/leader` says. */
  leader: Readonly<Record<string, unknown>>;
  /** What the token says of itself beside its kind. */
  lookup: Readonly<Record<string, unknown>>;
  /** Asked before each request. */
  fault: (request: SeenRequest) => Fault | undefined;
  /** How many connections were ever opened, and how many are open. */
  connections(): { readonly opened: number; readonly open: number };
  /** Resets every connection, as a load balancer does with idle ones. */
  dropIdleConnections(): void;
  close(): Promise<void>;
}

/** Of Vault's policy `default`, what matters here. */
const DEFAULT_POLICY: Readonly<Record<string, readonly string[]>> = {
  'auth/token/lookup-self': ['read'],
  'auth/token/renew-self': ['update'],
  'auth/token/revoke-self': ['update'],
};

export interface FakeVaultOptions {
  readonly now: () => Date;
  readonly tls?: ServerCertificate;
}

/** A small Vault: tokens, policies, capabilities-self, health, and one PKI mount with one role that signs with a CA of its own. */
export async function startFakeVault(options: FakeVaultOptions): Promise<FakeVault> {
  const pki = await createFakePki(options.now);
  const seen: SeenRequest[] = [];
  const sockets = new Set<Socket>();
  let opened = 0;

  const handler: http.RequestListener = (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const text = Buffer.concat(chunks).toString('utf8');
      const path = (request.url ?? '').replace(/^\/v1\//, '');
      const one = {
        method: request.method ?? '',
        path,
        headers: request.headers,
        body: text === '' ? {} : JSON.parse(text),
      };
      seen.push(one);
      const fault = vault.fault(one);
      if (fault === 'hang') return;
      if (fault !== undefined) {
        response.writeHead(fault.status, fault.headers).end(fault.body);
        return;
      }
      const { status, body } = answer(one);
      response.writeHead(status, { 'content-type': 'application/json' }).end(body && JSON.stringify(body));
    });
  };
  const server =
    options.tls === undefined
      ? http.createServer(handler)
      : https.createServer(
          { cert: await readFile(options.tls.certFile), key: await readFile(options.tls.keyFile) },
          handler,
        );
  server.on(options.tls === undefined ? 'connection' : 'secureConnection', (socket: Socket) => {
    opened += 1;
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));

  const vault: FakeVault = {
    address: `${options.tls === undefined ? 'http' : 'https'}://127.0.0.1:${(server.address() as AddressInfo).port}`,
    token: `hvs.${randomBytes(18).toString('base64url')}`,
    seen,
    pki,
    grants: new Map(),
    hasDefaultPolicy: true,
    isSealed: false,
    isInitialised: true,
    health: {},
    leader: { ha_enabled: false },
    lookup: { ttl: 3600, renewable: true, policies: ['default', 'mesh-ca'] },
    fault: () => undefined,
    connections: () => ({ opened, open: sockets.size }),
    dropIdleConnections() {
      for (const socket of sockets) socket.destroy();
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };

  function answer({ method, path, headers, body }: SeenRequest): Answer {
    if (path === 'sys/health') return health();
    if (path === 'sys/leader') return { status: 200, body: vault.leader };
    if (vault.isSealed || !vault.isInitialised) return errors(503, 'Vault is sealed');
    const told = method === 'GET' ? pki.tell(path) : undefined;
    if (told !== undefined) return told;
    if (headers['x-vault-token'] !== vault.token) return errors(403, 'permission denied');
    if (vault.hasDefaultPolicy && path === 'sys/capabilities-self') return capabilities(body.paths);
    if (vault.hasDefaultPolicy && path === 'auth/token/lookup-self') {
      return { status: 200, body: { data: { type: 'service', ...vault.lookup } } };
    }
    if (path.startsWith('sys/internal/ui/mounts/')) return mount(path.slice('sys/internal/ui/mounts/'.length));
    const wanted = path.endsWith('?list=true') ? 'list' : method === 'GET' ? 'read' : 'update';
    if (!vault.grants.get(path.replace('?list=true', ''))?.includes(wanted))
      return errors(403, '1 error occurred:\n\t* permission denied\n\n');
    return pki.answer(method, path, body) ?? errors(404, `no handler for route "${path}". route entry not found.`);
  }

  function health(): Answer {
    const { isSealed, isInitialised: initialized } = vault;
    const sealed = isSealed || !initialized;
    const serverSeconds = Math.floor(options.now().getTime() / 1000);
    const body = {
      initialized,
      sealed,
      standby: sealed,
      server_time_utc: serverSeconds,
      version: '0.0.0-fake',
      ...vault.health,
    };
    return { status: initialized ? (sealed ? 503 : 200) : 501, body };
  }

  /** Told to who has a right below it. */
  function mount(path: string): Answer {
    const isKnown = path === pki.mount && [...vault.grants.keys()].some((one) => one.startsWith(`${path}/`));
    if (!isKnown) return errors(403, 'preflight capability check returned 403');
    return { status: 200, body: { data: { type: 'pki', config: { max_lease_ttl: pki.maxLeaseSeconds } } } };
  }

  function capabilities(paths: unknown): Answer {
    const list = Array.isArray(paths) ? paths.map(String) : [];
    const granted = (path: string) => vault.grants.get(path) ?? DEFAULT_POLICY[path] ?? ['deny'];
    const data = Object.fromEntries(list.map((path) => [path, granted(path)]));
    return { status: 200, body: { ...data, data } };
  }

  return vault;
}

export interface Answer {
  readonly status: number;
  readonly body?: object;
}

export function errors(status: number, ...texts: string[]): Answer {
  return { status, body: { errors: texts } };
}
