import { hash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { RequestOptions } from 'node:https';
import type { KubeConfig } from '@kubernetes/client-node';
import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import { orAborted } from '../../src/runtime/or-aborted.ts';
import { failed, type Outcome } from './failure.ts';
import { findTokenFile } from './token-file.ts';

/** How the API server is reached and who we are to it, now. */
export interface Access {
  /** URL without a slash at its end; may hold a path. */
  readonly server: string;
  /** Authorization and impersonation. Never in a message. */
  readonly headers: Readonly<Record<string, string>>;
  readonly tls: Readonly<
    Pick<RequestOptions, 'ca' | 'cert' | 'key' | 'pfx' | 'passphrase' | 'servername' | 'rejectUnauthorized'>
  >;
  /** '' for none. */
  readonly proxyUrl: string;
  /** Equal as long as connections may be kept: of everything but the headers. */
  readonly connectionHash: string;
}

export interface KubeAccess {
  get(signal: AbortSignal): Promise<Outcome<Access>>;
  /** The server refused what `get` gave: read everything again at the next call. False: that was done a moment ago. */
  refresh(): boolean;
}

/** Files that a kubeconfig names are read again after this; of a Pod's token client-node itself keeps one for a minute. */
const FRESH_FOR_MS = 10_000;
/** The kubeconfig itself is read again after this. As long as it says the same, an `exec` plug-in is run only when its credentials end. */
const RELOAD_AFTER_MS = 30_000;
/** What worked before is used so long while it is read again, or cannot be: somebody may be writing the kubeconfig. */
const KEEP_MS = 60_000;
const PATIENCE_MS = 500;
const RETRY_MS = 1_000;
const REFRESH_PAUSE_MS = 500;
/** An `exec` credential plug-in may ask another service. */
const LOAD_TIMEOUT_MS = 15_000;

const NO_CLUSTER_FIX =
  'name the cluster: KUBECONFIG=<file>, or ~/.kube/config, or run mesh-ca in a Pod with a service account token';

/** Reads the cluster as kubectl does: KUBECONFIG, ~/.kube/config, else the service account of the Pod. */
export function createKubeAccess(clock: IssuerDeps['clock']): KubeAccess {
  let config: Config | undefined;
  let reloadAtMs = Number.NEGATIVE_INFINITY;
  let current: { readonly access: Access; readonly atMs: number; freshUntilMs: number } | undefined;
  let loading: Promise<Outcome<Access>> | undefined;
  let refreshedMs = Number.NEGATIVE_INFINITY;

  async function load(): Promise<Outcome<Access>> {
    const nowMs = clock.monotonicMs();
    const deadline = clock.deadline(LOAD_TIMEOUT_MS);
    try {
      if (nowMs >= reloadAtMs) {
        const found = await loadKubeConfig();
        if (found.text !== config?.text) config = found;
        reloadAtMs = nowMs + RELOAD_AFTER_MS;
      }
      if (config === undefined) throw new TypeError('no kubeconfig');
      const read = config;
      // A plug-in that hangs is waited for, not started beside itself.
      read.reading ??= readAccess(read).finally(() => {
        read.reading = undefined;
      });
      const access = await orAborted(read.reading, deadline.signal);
      current = { access, atMs: nowMs, freshUntilMs: Math.min(nowMs + FRESH_FOR_MS, reloadAtMs) };
      return { ok: true, value: access };
    } catch (error) {
      reloadAtMs = Number.NEGATIVE_INFINITY;
      if (current !== undefined) current.freshUntilMs = nowMs + RETRY_MS;
      return failed({ ...describe(error), cause: error });
    } finally {
      deadline.clear();
      loading = undefined;
    }
  }

  return {
    async get(signal) {
      const nowMs = clock.monotonicMs();
      const before = current;
      if (before !== undefined && nowMs < before.freshUntilMs) return { ok: true, value: before.access };
      loading ??= load();
      if (before === undefined || nowMs - before.atMs >= KEEP_MS) return orAborted(loading, signal);
      // A plug-in may take its time: then what worked before is used, as long as it is not refused.
      const deadline = clock.deadline(PATIENCE_MS, signal);
      const now = await orAborted(loading, deadline.signal).catch(() => undefined);
      deadline.clear();
      signal.throwIfAborted();
      return now?.ok ? now : { ok: true, value: before.access };
    },
    refresh() {
      const nowMs = clock.monotonicMs();
      if (nowMs - refreshedMs < REFRESH_PAUSE_MS) return false;
      refreshedMs = nowMs;
      config = undefined;
      current = undefined;
      reloadAtMs = Number.NEGATIVE_INFINITY;
      return true;
    },
  };
}

interface Config {
  readonly kube: KubeConfig;
  readonly tokenFile: string | undefined;
  /** Equal when nothing has changed. Holds credentials. */
  readonly text: string;
  reading?: Promise<Access> | undefined;
}

/** Errors of other libraries stay out, also as causes: a YAML parser quotes the lines around its error, a plug-in's may hold anything. */
class AccessError extends Error {
  readonly fix: string;
  readonly kind: 'kubeconfig' | 'credentials';

  constructor(message: string, fix: string, kind: AccessError['kind'] = 'kubeconfig') {
    super(message);
    this.fix = fix;
    this.kind = kind;
  }
}

/** 357 ms and 85 MB: only for those who use cert-manager, at their first call. */
async function loadKubeConfig(): Promise<Config> {
  const library = await import('@kubernetes/client-node').catch(() => {
    throw new AccessError('the package @kubernetes/client-node cannot be loaded', 'install it again: npm ci');
  });
  const kube = new library.KubeConfig();
  let tokenFile: string | undefined;
  try {
    kube.loadFromDefault();
    tokenFile = await findTokenFile(kube.getCurrentUser()?.name ?? '', library.loadYaml);
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'it is no kubeconfig';
    throw new AccessError(
      `the kubeconfig cannot be read (${code})`,
      'check the file that KUBECONFIG names, or ~/.kube/config: kubectl config view',
    );
  }
  const { clusters, users, contexts, currentContext } = kube;
  return { kube, tokenFile, text: JSON.stringify([clusters, users, contexts, currentContext, tokenFile]) };
}

async function readAccess({ kube, tokenFile }: Config): Promise<Access> {
  const cluster = kube.getCurrentCluster();
  if (cluster === null || typeof cluster.server !== 'string') {
    throw new AccessError(
      'the kubeconfig has no cluster in its current context',
      'choose one: kubectl config use-context <name>',
    );
  }
  // What client-node falls back to when it finds nothing at all.
  if (cluster.name === 'cluster' && cluster.server === 'http://localhost:8080') {
    throw new AccessError('no Kubernetes cluster is configured', NO_CLUSTER_FIX);
  }
  const server = cluster.server.replace(/\/+$/, '');
  if (!URL.canParse(server) || !/^https?:$/.test(new URL(server).protocol)) {
    throw new AccessError('`server` in the kubeconfig is no http or https URL', 'correct the kubeconfig');
  }
  // The address stands in messages; and no client takes its credentials from there.
  const { username, password } = new URL(server);
  if (username !== '' || password !== '') {
    throw new AccessError(
      '`server` in the kubeconfig holds a user name or password',
      'put them into the user of the current context: kubectl config set-credentials',
    );
  }
  const proxyUrl = cluster.proxyUrl ?? '';
  if (proxyUrl !== '' && !/^https?:\/\//.test(proxyUrl)) {
    throw new AccessError(
      '`proxy-url` in the kubeconfig is no http or https URL',
      'use an HTTP proxy: SOCKS is not spoken',
    );
  }
  const options: RequestOptions = {};
  try {
    await kube.applyToHTTPSOptions(options);
    if (tokenFile !== undefined) {
      options.headers = { ...options.headers, Authorization: `Bearer ${(await readFile(tokenFile, 'utf8')).trim()}` };
    }
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? ` (${String(cause.code)})` : '';
    const isPlain = server.startsWith('http:');
    throw new AccessError(
      isPlain
        ? '`server` in the kubeconfig is plain http, where everybody in between reads the credentials'
        : `the credentials of the kubeconfig cannot be read${code}`,
      isPlain
        ? 'write https://, or allow it with insecure-skip-tls-verify: true'
        : 'check the files, and the exec plug-in, of the current user in the kubeconfig',
      isPlain ? 'kubeconfig' : 'credentials',
    );
  }
  const { ca, cert, key, pfx, passphrase, servername, rejectUnauthorized } = options;
  const tls = Object.fromEntries(
    Object.entries({ ca, cert, key, pfx, passphrase, servername }).filter(([, value]) => value !== undefined),
  );
  // Said in so many words, so that NODE_TLS_REJECT_UNAUTHORIZED changes nothing.
  const strict = { ...tls, rejectUnauthorized: rejectUnauthorized ?? true };
  const headers = Object.fromEntries(
    Object.entries(options.headers ?? {}).map(([name, value]) => [name.toLowerCase(), String(value).trim()]),
  );
  if (typeof options.auth === 'string') headers.authorization = `Basic ${Buffer.from(options.auth).toString('base64')}`;
  return {
    server,
    headers,
    tls: strict,
    proxyUrl,
    connectionHash: hash('sha256', JSON.stringify([server, proxyUrl, strict])),
  };
}

function describe(error: unknown): Pick<AccessError, 'kind' | 'message' | 'fix'> {
  if (error instanceof AccessError) return { kind: error.kind, message: error.message, fix: error.fix };
  return {
    kind: 'credentials',
    message: `the credentials of the kubeconfig could not be had within ${LOAD_TIMEOUT_MS} ms`,
    fix: 'look at the exec plug-in of the current user in the kubeconfig',
  };
}
