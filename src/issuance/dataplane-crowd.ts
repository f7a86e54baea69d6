import { RateLimitedError } from '../issuer/errors.ts';

/** Keeps one data plane, with a new CSR for each try, from taking the turns of the others of its mesh. */
export interface DataplaneCrowd {
  /**
   * Counts a request that may wait for its turn. Returns what ends that; to be called once.
   * @throws RateLimitedError when too many of the data plane are under way
   */
  enter(mesh: string, dataplane: string): () => void;
}

/** Requests for one data plane that may be under way: a proxy has one, two while it restarts. */
const MOST_OF_DATAPLANE = 16;
const CROWDED_RETRY_MS = 1_000;

export function createDataplaneCrowd(): DataplaneCrowd {
  const underWay = new Map<string, number>();
  return {
    enter(mesh, dataplane) {
      const who = `${mesh}/${dataplane}`;
      const count = underWay.get(who) ?? 0;
      if (count >= MOST_OF_DATAPLANE) {
        throw new RateLimitedError(`${count} requests for data plane "${dataplane}" of mesh "${mesh}" are under way`, {
          fix: 'wait for their answers; or send the same CSR with each, then they are one request',
          retryAfterMs: CROWDED_RETRY_MS,
        });
      }
      underWay.set(who, count + 1);
      return () => {
        const left = (underWay.get(who) ?? 1) - 1;
        if (left > 0) underWay.set(who, left);
        else underWay.delete(who);
      };
    },
  };
}
