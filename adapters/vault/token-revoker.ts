import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import { orAborted } from '../../src/runtime/or-aborted.ts';
import type { TokenCalls } from './token-calls.ts';

/** Ends tokens that we made and need no more. Best effort, one call each: what is not revoked ends by itself. */
export interface TokenRevoker {
  /** After a moment: calls under way still carry it. */
  later(token: string): void;
  /** All that wait, and `last`, now. */
  close(last: string | undefined): Promise<void>;
}

const GRACE_MS = 5_000;
const TIMEOUT_MS = 2_000;

export function createTokenRevoker(
  revoke: TokenCalls['revoke'],
  { clock, log }: Pick<IssuerDeps, 'clock' | 'log'>,
): TokenRevoker {
  /** Fires when nobody should wait for the end of a grace any more. */
  const hurry = new AbortController();
  const waiting = new Set<Promise<void>>();

  async function end(token: string): Promise<void> {
    const deadline = clock.deadline(TIMEOUT_MS);
    try {
      const { ok } = await orAborted(revoke(token, deadline.signal), deadline.signal);
      if (ok) return;
    } catch {
      // Told below, as an answer that says no.
    } finally {
      deadline.clear();
    }
    log.debug({}, 'a vault token that is not needed any more was not revoked');
  }

  return {
    later(token) {
      const done = clock
        .sleep(GRACE_MS, hurry.signal)
        .catch(() => {})
        .then(() => end(token))
        .finally(() => waiting.delete(done));
      waiting.add(done);
    },
    async close(last) {
      hurry.abort();
      await Promise.all([...waiting, ...(last === undefined ? [] : [end(last)])]);
    },
  };
}
