import { setMaxListeners } from 'node:events';
import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import type { KubernetesClient } from './client.ts';
import { type Failure, type FailureKind, isPassing, toError } from './failure.ts';
import * as replies from './replies.ts';
import { selectorOf } from './request-object.ts';

type CertificateRequest = replies.CertificateRequest;

export interface Follow {
  /** The object exists now: a list that lacks it says that it was deleted. */
  created(): void;
  end(): void;
}

/** One watch for all requests of this process in a namespace: of all meshes and backends. It costs nothing while nobody holds it. */
export interface RequestWatch {
  /** Somebody has, or will have, a request. Returns what ends that; the watch ends a minute after the last. */
  hold(): () => void;
  /**
   * Resolves when changes from now on will be told. Waits while the server is away for a moment.
   * @throws the error of the last attempt when the server says no, or has been away for long
   */
  ready(signal: AbortSignal): Promise<void>;
  /** Tells every change of an object; undefined: it is gone. */
  follow(name: string, tell: (request: CertificateRequest | undefined) => void): Follow;
  /** A call got no answer, so the watch may be as dead: unless it was heard just now it goes on on a new connection. */
  suspect(): void;
  /** No timer and no connection is left. Idempotent. */
  close(): Promise<void>;
}

export interface RequestWatchOptions extends Pick<IssuerDeps, 'clock' | 'random' | 'log'> {
  readonly client: KubernetesClient;
  readonly instance: string;
  /** An object of ours that nobody follows: its creation was given up, and happened nevertheless. */
  readonly onStranger: (name: string) => void;
}

const IDLE_MS = 60_000;
/** A server that was away for this long is told to callers at once. */
const PATIENCE_MS = 10_000;
/** kube-apiserver 1.34 answers 403 and 404 for about a second after its port is open. */
const STARTING_MS = 3_000;
const AWAY: ReadonlySet<FailureKind> = new Set(['unreachable', 'broken', 'timeout']);
const FIRST_PAUSE_MS = 100;
/** Not longer, so that the end of a fault is noticed within two seconds. */
const LONGEST_PAUSE_MS = 1_500;
const LONGEST_RETRY_AFTER_MS = 30_000;
const OPEN_TIMEOUT_MS = 1_500;
/** Every fourth attempt in a row waits longer, for a server that is there but slow. */
const PATIENT_OPEN_TIMEOUT_MS = 6_000;
/** A connection that held for this long was a good one. */
const GOOD_MS = 1_000;
const WATCH_SECONDS = 240;
/** With requests waiting, silence for this long is checked by a list; longer each time it was only that nothing happened. */
const SILENCE_MS = 1_000;
const LONGEST_SILENCE_MS = 5_000;
const LOOK_MS = 250;

interface Entry {
  readonly tell: (request: CertificateRequest | undefined) => void;
  isCreated: boolean;
  /** resourceVersion that was told last. */
  version: string;
}

interface Waiter {
  resolve(): void;
  reject(error: unknown): void;
}

export function createRequestWatch(options: RequestWatchOptions): RequestWatch {
  const { client, clock, random, log, instance, onStranger } = options;
  const selector = selectorOf(instance);
  const closing = new AbortController();
  setMaxListeners(0, closing.signal);
  const entries = new Map<string, Entry>();
  const waiters = new Set<Waiter>();
  let holders = 0;
  let wake: (() => void) | undefined;
  let idling: AbortController | undefined;
  let stream: AbortController | undefined;
  /** Where a watch goes on; undefined: begin with a list. */
  let version: string | undefined;
  let failures = 0;
  let failingSinceMs: number | undefined;
  let awayMs = Number.NEGATIVE_INFINITY;
  let heardMs = 0;
  let silenceMs = SILENCE_MS;
  let isChecking = false;
  let running: Promise<void> | undefined;

  async function run(): Promise<void> {
    while (!closing.signal.aborted) {
      if (holders === 0) {
        version = undefined;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        wake = undefined;
        continue;
      }
      const startedMs = clock.monotonicMs();
      const failure = await attend();
      if (closing.signal.aborted) return;
      if (failure !== undefined) noteFailure(failure);
      else if (clock.monotonicMs() - startedMs >= GOOD_MS) failures = 0;
      // A server that ends every watch at once is not to be hammered either.
      else failures += 1;
      if (failures > 0) await clock.sleep(pauseMs(failure), closing.signal).catch(() => {});
    }
  }

  /** One connection, from the list or the last version on, until it ends. Undefined: it ended as watches do. */
  async function attend(): Promise<Failure | undefined> {
    const own = new AbortController();
    stream = own;
    const call = {
      signal: own.signal,
      timeoutMs: failures % 4 === 3 ? PATIENT_OPEN_TIMEOUT_MS : OPEN_TIMEOUT_MS,
    };
    try {
      if (version === undefined) {
        const failure = await readList(call);
        if (failure !== undefined) return failure;
      }
      const timeoutSeconds = WATCH_SECONDS + Math.floor(random.uniform() * 60);
      const opened = await client.watch({ selector, resourceVersion: version ?? '0', timeoutSeconds }, call);
      if (!opened.ok) {
        if (opened.failure.kind === 'expired') version = undefined;
        return opened.failure;
      }
      noteGood();
      for await (const line of opened.value) {
        const failure = takeLine(line);
        if (failure !== undefined) return failure;
        failures = 0;
      }
      return undefined;
    } catch (error) {
      // Ended by us: idle, checked and found silent, or closing.
      if (own.signal.aborted) return undefined;
      return broken(error);
    } finally {
      stream = undefined;
      own.abort();
    }
  }

  async function readList(call: Parameters<KubernetesClient['list']>[1]): Promise<Failure | undefined> {
    const created = [...entries].filter(([, { isCreated }]) => isCreated).map(([name]) => name);
    const listed = await client.list({ schema: replies.requestList, selector }, call);
    if (!listed.ok) return listed.failure;
    const { items, metadata } = listed.value;
    for (const item of items) tell(item);
    const present = new Set(items.map((item) => item.metadata.name));
    for (const name of created) if (!present.has(name)) entries.get(name)?.tell(undefined);
    version = metadata.resourceVersion;
    noteHeard();
    return undefined;
  }

  /** True when it was news. */
  function tell(request: CertificateRequest): boolean {
    const { name, resourceVersion, deletionTimestamp } = request.metadata;
    const entry = entries.get(name);
    if (entry === undefined) {
      if (!deletionTimestamp) onStranger(name);
      return false;
    }
    entry.isCreated = true;
    if (resourceVersion && entry.version === resourceVersion) return false;
    entry.version = resourceVersion ?? '';
    entry.tell(request);
    return true;
  }

  function takeLine(line: string): Failure | undefined {
    noteHeard();
    const event = replies.watchEvent.safeParse(parseJson(line));
    if (!event.success) {
      // Perhaps no API server at all: a list finds out.
      version = undefined;
      return malformed();
    }
    const { type, object } = event.data;
    if (type === 'BOOKMARK') {
      version = replies.bookmark.safeParse(object).data?.metadata.resourceVersion ?? version;
      return undefined;
    }
    if (type === 'ERROR') {
      const code = replies.statusBody.safeParse(object).data?.code;
      if (code === 410) version = undefined;
      // Nothing is wrong: the history that a watch can go on from is short.
      return {
        ...malformed(),
        kind: code === 410 ? 'expired' : 'server',
        message: 'the watch was ended by the server',
      };
    }
    const request = replies.certificateRequest.safeParse(object);
    if (!request.success) {
      log.warn({ instance }, 'a CertificateRequest cannot be read: it is left alone');
      return undefined;
    }
    version = request.data.metadata.resourceVersion ?? version;
    if (type === 'DELETED') entries.get(request.data.metadata.name)?.tell(undefined);
    else tell(request.data);
    return undefined;
  }

  function noteHeard(): void {
    heardMs = clock.monotonicMs();
    silenceMs = SILENCE_MS;
  }

  function noteGood(): void {
    if (failingSinceMs !== undefined) log.info({ instance }, 'the watch of CertificateRequests is back');
    failingSinceMs = undefined;
    noteHeard();
    for (const waiter of waiters) waiter.resolve();
    waiters.clear();
  }

  function noteFailure(failure: Failure): void {
    const nowMs = clock.monotonicMs();
    failures += 1;
    if (failure.kind === 'expired') return;
    if (failingSinceMs === undefined)
      log.warn({ instance, err: toError(failure) }, 'the watch of CertificateRequests broke');
    failingSinceMs ??= nowMs;
    if (isWorthWaiting(failure, nowMs - failingSinceMs)) return;
    for (const waiter of waiters) waiter.reject(toError(failure));
    waiters.clear();
  }

  /**
   * A server that is away may be starting again; and one that has just started refuses for a moment what it allows later, since it does not know
   * roles and resources yet. One that answers otherwise, and not well, is asked twice.
   */
  function isWorthWaiting(failure: Failure, failingMs: number): boolean {
    const nowMs = clock.monotonicMs();
    if (AWAY.has(failure.kind)) awayMs = nowMs;
    if (nowMs - awayMs < STARTING_MS) return failingMs < PATIENCE_MS;
    return isPassing(failure) && failures < 2;
  }

  function pauseMs(failure: Failure | undefined): number {
    const growing = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(failures - 1, 10));
    const told = Math.min(failure?.retryAfterMs ?? 0, LONGEST_RETRY_AFTER_MS);
    return Math.max(growing * (0.5 + random.uniform() / 2), told);
  }

  /**
   * A watch can be dead without knowing it. While somebody waits and nothing is heard, a list tells which it is; so a half-open connection
   * costs about a second, and no request is lost to it.
   */
  async function checkSilence(): Promise<void> {
    if (isChecking) return;
    isChecking = true;
    noteHeard();
    try {
      while (entries.size > 0 && !closing.signal.aborted) {
        await clock.sleep(LOOK_MS, closing.signal);
        if (entries.size === 0 || clock.monotonicMs() - heardMs < silenceMs) continue;
        const created = [...entries].filter(([, { isCreated }]) => isCreated).map(([name]) => name);
        const call = { signal: closing.signal, timeoutMs: OPEN_TIMEOUT_MS };
        const listed = await client.list({ schema: replies.requestList, selector }, call);
        heardMs = clock.monotonicMs();
        if (!listed.ok) {
          const { kind, retryAfterMs } = listed.failure;
          silenceMs = Math.min(Math.max(silenceMs, retryAfterMs ?? SILENCE_MS), LONGEST_RETRY_AFTER_MS);
          if (kind === 'timeout' || kind === 'broken' || kind === 'unreachable') stream?.abort();
          continue;
        }
        const { items, metadata } = listed.value;
        const present = new Set(items.map((item) => item.metadata.name));
        let isNews = false;
        for (const item of items) isNews = tell(item) || isNews;
        for (const name of created) {
          const entry = entries.get(name);
          if (entry === undefined || present.has(name)) continue;
          isNews = true;
          entry.tell(undefined);
        }
        silenceMs = isNews ? SILENCE_MS : Math.min(2 * silenceMs, LONGEST_SILENCE_MS);
        if (!isNews) continue;
        version = metadata.resourceVersion;
        stream?.abort();
      }
    } catch {
      // Closing.
    } finally {
      isChecking = false;
    }
  }

  return {
    hold() {
      closing.signal.throwIfAborted();
      holders += 1;
      idling?.abort();
      wake?.();
      running ??= run();
      let isHeld = true;
      return () => {
        if (!isHeld) return;
        isHeld = false;
        holders -= 1;
        if (holders > 0 || closing.signal.aborted) return;
        const own = new AbortController();
        idling = own;
        const end = () => {
          if (!own.signal.aborted) stream?.abort();
        };
        clock.sleep(IDLE_MS, own.signal).then(end, () => {});
      };
    },
    async ready(signal) {
      signal.throwIfAborted();
      if (version !== undefined && failingSinceMs === undefined) return;
      await new Promise<void>((resolve, reject) => {
        const onAbort = () => {
          waiters.delete(waiter);
          reject(signal.reason);
        };
        const settle = (done: () => void) => {
          signal.removeEventListener('abort', onAbort);
          done();
        };
        const waiter: Waiter = {
          resolve: () => settle(resolve),
          reject: (error) => settle(() => reject(error)),
        };
        waiters.add(waiter);
        signal.addEventListener('abort', onAbort, { once: true });
      });
    },
    follow(name, tellChange) {
      const entry: Entry = { tell: tellChange, isCreated: false, version: '' };
      entries.set(name, entry);
      void checkSilence();
      return {
        created() {
          entry.isCreated = true;
        },
        end() {
          if (entries.get(name) === entry) entries.delete(name);
        },
      };
    },
    suspect() {
      if (clock.monotonicMs() - heardMs >= OPEN_TIMEOUT_MS / 2) stream?.abort();
    },
    async close() {
      closing.abort(new Error('the watch is closed'));
      idling?.abort();
      stream?.abort();
      wake?.();
      for (const waiter of waiters) waiter.reject(closing.signal.reason);
      waiters.clear();
      await running;
    },
  };
}

function broken(cause: unknown): Failure {
  return {
    kind: 'broken',
    message: 'the watch of CertificateRequests broke',
    fix: 'look at the API server and at what stands between it and mesh-ca',
    cause,
  };
}

function malformed(): Failure {
  return {
    ...broken(undefined),
    kind: 'malformed',
    message: 'the watch of CertificateRequests told something unreadable',
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
