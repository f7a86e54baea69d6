import { createEndpointQueues, type QueuedBackend } from '../../../src/issuance/queue/endpoint-queues.ts';
import type { Priority } from '../../../src/issuance/queue/priority.ts';
import type { CallOptions } from '../../../src/issuer/issuer.ts';
import { createFakeClock, TEST_START } from '../../conformance/issuer-deps.ts';
import { settle } from '../../support/pass-time.ts';

/** One request that a test plays: it does what it is told, and tells what became of it. */
export interface Played {
  readonly backend: QueuedBackend;
  readonly caller: AbortController;
  /** When its work was started; undefined: it waits. */
  startedMs: number | undefined;
  /** Undefined: it is not done. */
  result: { readonly value: string } | { readonly error: unknown } | undefined;
  succeed(): Promise<void>;
  fail(error: unknown): Promise<void>;
  park(): Promise<void>;
}

export interface AskOptions {
  readonly mesh?: string;
  readonly name?: string;
  readonly priority?: Priority;
  readonly endpoint?: string;
}

/** Queues on a clock that the test turns. */
export function createQueueWorld(concurrency = { start: 2, max: 256, targetDelayMs: 50 }) {
  const clock = createFakeClock(TEST_START);
  const queues = createEndpointQueues({ clock });
  const waited: number[] = [];
  const started: Played[] = [];

  function backendOf({
    mesh = 'default',
    name = 'vault-1',
    endpoint = 'https://vault',
  }: AskOptions = {}): QueuedBackend {
    const metrics: QueuedBackend['metrics'] = {
      ...{ observe() {}, certificate() {}, request() {}, requestsOfCertificate() {} },
      waited: (durationMs) => waited.push(durationMs),
    };
    return { mesh, name, endpoint, concurrency, metrics, local: false };
  }

  function ask(options: AskOptions = {}): Played {
    const backend = backendOf(options);
    const caller = new AbortController();
    let end: (result: Promise<string>) => void = () => {};
    let parkNow: (() => void) | undefined;
    const played: Played = {
      ...{ backend, caller, startedMs: undefined, result: undefined },
      succeed: () => endWith(Promise.resolve('signed')),
      fail: (error) => endWith(Promise.reject(error)),
      park() {
        parkNow?.();
        return settle();
      },
    };
    const endWith = (result: Promise<string>) => {
      end(result);
      return settle();
    };
    const work = (call: CallOptions) => {
      played.startedMs = clock.monotonicMs();
      started.push(played);
      parkNow = call.park;
      return new Promise<string>((resolve) => {
        end = resolve;
      });
    };
    queues.run(backend, options.priority ?? 'first', work, { signal: caller.signal }).then(
      (value) => {
        played.result = { value };
      },
      (error: unknown) => {
        played.result = { error };
      },
    );
    return played;
  }

  return {
    clock,
    queues,
    waited,
    /** In the order in which their work was started. */
    started,
    ask,
    backendOf,
    askMany: (count: number, options?: AskOptions) => Array.from({ length: count }, () => ask(options)),
    load: (options?: AskOptions) => queues.load(backendOf(options)),
    async pass(ms: number) {
      clock.advance(ms);
      await settle();
    },
  };
}

/** What a deadline fires with. */
export const timeIsOver = () => new DOMException('no answer within 20000 ms', 'TimeoutError');
