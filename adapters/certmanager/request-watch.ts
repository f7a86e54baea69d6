import { setMaxListeners } from 'node:events';
import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import type { CallOptions, KubernetesClient } from './client.ts';
import { AWAY, type Failure } from './failure.ts';
import { createFollowers, type Follow } from './followers.ts';
import { listRequests } from './list-requests.ts';
import type { CertificateRequest } from './replies.ts';
import { selectorOf } from './request-object.ts';
import { createWatchHealth } from './watch-health.ts';
import { brokenWatch, readWatchLine } from './watch-line.ts';

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
  readonly client: Pick<KubernetesClient, 'list' | 'watch'>;
  readonly instance: string;
  /** An object of ours that nobody follows: its creation was given up, and happened nevertheless. */
  readonly onStranger: (metadata: CertificateRequest['metadata']) => void;
}

const IDLE_MS = 60_000;
const OPEN_TIMEOUT_MS = 1_500;
/** Every fourth attempt in a row waits longer, for a server that is there but slow. */
const PATIENT_OPEN_TIMEOUT_MS = 6_000;
/** A connection that held for this long was a good one. */
const GOOD_MS = 1_000;
const WATCH_SECONDS = 240;
/** With requests waiting, silence for this long is checked by a list; longer each time it was only that nothing happened. */
const SILENCE_MS = 1_000;
const LONGEST_SILENCE_MS = 5_000;
const LONGEST_RETRY_AFTER_MS = 30_000;
const LOOK_MS = 250;

export function createRequestWatch(options: RequestWatchOptions): RequestWatch {
  const { client, clock, random, log, instance, onStranger } = options;
  const selector = selectorOf(instance);
  const followers = createFollowers(onStranger);
  const health = createWatchHealth(options, instance);
  const closing = new AbortController();
  setMaxListeners(0, closing.signal);
  let holders = 0;
  let wake: (() => void) | undefined;
  let idling: AbortController | undefined;
  let stream: AbortController | undefined;
  /** Where a watch goes on; undefined: begin with a list. */
  let version: string | undefined;
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
      // A server that ends every watch at once is not to be hammered either.
      if (failure === undefined && clock.monotonicMs() - startedMs >= GOOD_MS) health.noteUseful();
      else health.noteFailure(failure);
      if (health.failures > 0) await clock.sleep(health.pauseMs(failure), closing.signal).catch(() => {});
    }
  }

  /** One connection, from the list or the last version on, until it ends. Undefined: it ended as watches do. */
  async function attend(): Promise<Failure | undefined> {
    const own = new AbortController();
    stream = own;
    const timeoutMs = health.failures % 4 === 3 ? PATIENT_OPEN_TIMEOUT_MS : OPEN_TIMEOUT_MS;
    const call = { signal: own.signal, timeoutMs };
    try {
      version ??= await readList(call);
      const timeoutSeconds = WATCH_SECONDS + Math.floor(random.uniform() * 60);
      const opened = await client.watch({ selector, resourceVersion: version, timeoutSeconds }, call);
      if (!opened.ok) {
        // Another cluster, or one from a backup, may not know the version: 410, or 504 for one from the future.
        if (!AWAY.has(opened.failure.kind)) version = undefined;
        return opened.failure;
      }
      health.noteGood();
      noteHeard();
      for await (const line of opened.value) {
        const failure = takeLine(line);
        if (failure !== undefined) return failure;
        health.noteUseful();
      }
      return undefined;
    } catch (error) {
      if (error instanceof ListFailed) return error.failure;
      // Ended by us: idle, checked and found silent, or closing.
      if (own.signal.aborted) return undefined;
      return brokenWatch(error);
    } finally {
      stream = undefined;
      own.abort();
    }
  }

  /** @throws ListFailed */
  async function readList(call: CallOptions): Promise<string> {
    const take = followers.expectList();
    const listed = await listRequests(client, selector, call);
    if (!listed.ok) throw new ListFailed(listed.failure);
    take(listed.value.items);
    noteHeard();
    return listed.value.version;
  }

  function takeLine(line: string): Failure | undefined {
    noteHeard();
    const news = readWatchLine(line);
    if (news.kind === 'over') {
      if (news.mustList) version = undefined;
      return news.failure;
    }
    if (news.kind === 'unreadable') {
      log.warn({ instance }, 'a CertificateRequest cannot be read: it is left alone');
      return undefined;
    }
    version = news.version ?? version;
    if (news.kind === 'changed') followers.tell(news.request);
    if (news.kind === 'deleted') followers.tellGone(news.name);
    return undefined;
  }

  function noteHeard(): void {
    heardMs = clock.monotonicMs();
    silenceMs = SILENCE_MS;
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
      while (followers.size > 0) {
        await clock.sleep(LOOK_MS, closing.signal);
        if (followers.size > 0 && clock.monotonicMs() - heardMs >= silenceMs) await breakSilence();
      }
    } catch {
      // Closing.
    } finally {
      isChecking = false;
    }
  }

  async function breakSilence(): Promise<void> {
    const take = followers.expectList();
    const listed = await listRequests(client, selector, { signal: closing.signal, timeoutMs: OPEN_TIMEOUT_MS });
    heardMs = clock.monotonicMs();
    if (!listed.ok) {
      const { kind, retryAfterMs = SILENCE_MS } = listed.failure;
      silenceMs = Math.min(Math.max(silenceMs, retryAfterMs), LONGEST_RETRY_AFTER_MS);
      // The watch may be as dead as the list.
      if (AWAY.has(kind)) stream?.abort();
      return;
    }
    const isNews = take(listed.value.items);
    silenceMs = isNews ? SILENCE_MS : Math.min(2 * silenceMs, LONGEST_SILENCE_MS);
    if (!isNews) return;
    version = listed.value.version;
    stream?.abort();
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
      if (version === undefined || !health.isWell) await health.untilGood(signal);
    },
    follow(name, tell) {
      const follow = followers.follow(name, tell);
      void checkSilence();
      return follow;
    },
    suspect() {
      if (clock.monotonicMs() - heardMs >= OPEN_TIMEOUT_MS / 2) stream?.abort();
    },
    async close() {
      closing.abort(new Error('the watch is closed'));
      idling?.abort();
      stream?.abort();
      wake?.();
      health.rejectAll(closing.signal.reason);
      await running;
    },
  };
}

class ListFailed extends Error {
  readonly failure: Failure;

  constructor(failure: Failure) {
    super(failure.message);
    this.failure = failure;
  }
}
