import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import { orAborted } from '../../src/runtime/or-aborted.ts';
import type { LoginReply } from './auth/token-source.ts';
import type { Candidate } from './connections.ts';
import type { Exchange } from './exchange.ts';
import type { Outcome } from './failure.ts';
import { logIn, revokeSelf } from './token-calls.ts';

export interface LoginRequest {
  readonly path: string;
  readonly body: object;
}

/** Logins on their way. One that is broken off may well have made a token at Vault, which nobody would know, and nobody end. */
export interface Logins {
  /** As `logIn`; rejects with the signal's reason. */
  run(candidate: Candidate, request: LoginRequest, signal: AbortSignal): Promise<Outcome<LoginReply>>;
  /** Closes what a login was made over, once it is not on its way any more. */
  discard(candidates: readonly Candidate[]): void;
  /** To be called when `closing` has fired: what is on its way is heard out for a moment, and its token revoked. Idempotent. */
  close(): Promise<void>;
}

export interface LoginsOptions {
  readonly exchange: Exchange;
  readonly clock: IssuerDeps['clock'];
  readonly log: IssuerDeps['log'];
  readonly closing: AbortSignal;
}

/** How long an answer is waited for that only brings a token to revoke, and then its end. */
const LAST_ANSWER_MS = 1_000;
const REVOKE_MS = 1_000;

export function createLogins({ exchange, clock, log, closing }: LoginsOptions): Logins {
  const underWay = new Map<Candidate, { readonly answer: Promise<Outcome<LoginReply>>; end(reason: unknown): void }>();

  async function revoke(candidate: Candidate, answer: Promise<Outcome<LoginReply>>): Promise<void> {
    const got = await answer.catch(() => undefined);
    if (got?.ok !== true || got.value.life.type === 'batch') return;
    const deadline = clock.deadline(REVOKE_MS);
    try {
      const { ok } = await revokeSelf(exchange, candidate, got.value.token, deadline.signal);
      if (ok) return;
    } catch {
      // Told below, as an answer that says no.
    } finally {
      deadline.clear();
    }
    log.debug({}, 'a vault token of a login that was given up was not revoked');
  }

  return {
    async run(candidate, request, signal) {
      signal.throwIfAborted();
      const ending = new AbortController();
      const answer = logIn(exchange, candidate, request, ending.signal);
      underWay.set(candidate, { answer, end: (reason) => ending.abort(reason) });
      const forget = () => void underWay.delete(candidate);
      answer.then(forget, forget);
      try {
        return await orAborted(answer, signal);
      } finally {
        // Else it is heard out by `close`.
        if (signal.aborted && !closing.aborted) {
          forget();
          ending.abort(signal.reason);
        }
      }
    },
    discard(candidates) {
      for (const candidate of candidates) if (!underWay.has(candidate)) candidate.discard();
    },
    async close() {
      const left = [...underWay];
      if (left.length === 0) return;
      const deadline = clock.deadline(LAST_ANSWER_MS);
      const onLate = () => {
        for (const [, { end }] of left) end(deadline.signal.reason);
      };
      deadline.signal.addEventListener('abort', onLate, { once: true });
      await Promise.all(left.map(([candidate, { answer }]) => revoke(candidate, answer)));
      deadline.clear();
      for (const [candidate] of left) candidate.discard();
    },
  };
}
