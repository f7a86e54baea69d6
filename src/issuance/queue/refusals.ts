import { IssuerUnavailableError, RateLimitedError } from '../../issuer/errors.ts';

/** What is told to a request that did not come to its turn. */
export interface Waiting {
  readonly mesh: string;
  readonly backend: string;
  /** Others that wait: of its mesh, and in all. */
  readonly ofMesh: number;
  readonly inAll: number;
  readonly limit: number;
  /** Of the last ten seconds; 0 when nothing was done. */
  readonly perMs: number;
}

const MOST_OF_MESH = 10_000;
const MOST_IN_ALL = 100_000;

const SHORTEST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 60_000;
/** When nothing was done lately. */
const UNKNOWN_RETRY_MS = 30_000;

/** Whether so many wait that no other one may. */
export function isFull({ ofMesh, inAll }: Pick<Waiting, 'ofMesh' | 'inAll'>): boolean {
  return ofMesh >= MOST_OF_MESH || inAll >= MOST_IN_ALL;
}

/** The backend wants a pause of so long from now on. */
export function pausedError(waiting: Waiting, leftMs: number, until: Date): RateLimitedError {
  return new RateLimitedError(
    `the backend "${waiting.backend}" of mesh "${waiting.mesh}" wants no request before ${until.toISOString()}: ${others(waiting)}`,
    {
      retryAfterMs: Math.ceil(leftMs),
      fix: 'ask again then; when this comes often, raise the rate limit of the backend (a quota of Vault or AWS, priority and fairness of Kubernetes)',
    },
  );
}

/** Its time was over before there was a place for it. */
export function lateError(waiting: Waiting, reason: unknown): RateLimitedError {
  return new RateLimitedError(
    `the backend "${waiting.backend}" of mesh "${waiting.mesh}" is busy, no place came free in time: ${others(waiting)}`,
    {
      cause: reason,
      retryAfterMs: estimateMs(waiting),
      fix: 'ask again then; when this comes often, give the backend more capacity, or raise dpCert.requestTimeout',
    },
  );
}

export function tooManyError(waiting: Waiting): RateLimitedError {
  return new RateLimitedError(
    `too many requests wait for the backend "${waiting.backend}" of mesh "${waiting.mesh}": ${others(waiting)}`,
    { retryAfterMs: estimateMs(waiting), fix: 'ask again then, with fewer requests at a time' },
  );
}

export function closedError(): IssuerUnavailableError {
  return new IssuerUnavailableError('mesh-ca is stopping', { retryAfterMs: SHORTEST_RETRY_MS });
}

function others({ mesh, ofMesh, inAll, limit }: Waiting): string {
  const places = limit === 1 ? 'one place' : `${limit} places`;
  return `${inAll} others wait for ${places}, ${ofMesh} of them of mesh "${mesh}"`;
}

/** By when those who wait now are served. */
function estimateMs({ inAll, perMs }: Waiting): number {
  if (perMs === 0) return UNKNOWN_RETRY_MS;
  return Math.ceil(Math.min(LONGEST_RETRY_MS, Math.max(SHORTEST_RETRY_MS, inAll / perMs)));
}
