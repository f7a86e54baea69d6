import type { CallOptions } from '../issuer/issuer.ts';

/** Requests of one stream that are worked on at the same time. */
const AT_ONCE = 16;

/**
 * Works on many requests at once and gives the answers as they are ready, in any order. Reads no further input while `AT_ONCE` are under way or
 * answers are not taken: backpressure reaches the sender.
 * @param work must not throw: an error is an answer, too
 */
export async function* issueMany<In, Out>(
  requests: AsyncIterable<In>,
  work: (request: In) => Promise<Out>,
  { signal }: CallOptions,
): AsyncGenerator<Out> {
  const input = requests[Symbol.asyncIterator]();
  const underWay = new Map<number, Promise<{ id: number; answer: Out }>>();
  let next: Promise<IteratorResult<In>> | undefined = handled(input.next());
  let count = 0;
  try {
    for (;;) {
      signal.throwIfAborted();
      if (next === undefined && underWay.size === 0) return;
      const winner = await Promise.race<IteratorResult<In> | { id: number; answer: Out }>([
        ...(next !== undefined && underWay.size < AT_ONCE ? [next] : []),
        ...underWay.values(),
      ]);
      if ('answer' in winner) {
        underWay.delete(winner.id);
        yield winner.answer;
      } else if (winner.done === true) next = undefined;
      else {
        const id = count;
        count += 1;
        underWay.set(
          id,
          work(winner.value).then((answer) => ({ id, answer })),
        );
        next = handled(input.next());
      }
    }
  } finally {
    await input.return?.();
  }
}

/** While `AT_ONCE` are under way nobody waits for the next request; an error that comes meanwhile is met by the next race, and ends nothing. */
function handled<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}
