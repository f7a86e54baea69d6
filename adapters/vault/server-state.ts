import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import { remember } from '../shared/remembered.ts';
import type { VaultClient } from './client.ts';
import { FIND_ACTIVE, INITIALISE } from './error-rules.ts';
import type { Failure } from './failure.ts';

/** Requests that meet the same fault ask for more once in this time, all together. */
const ASK_AGAIN_MS = 2_000;
const HEALTH_TIMEOUT_MS = 5_000;

export interface StateExplainer {
  /** The same failure, or a better one. Rejects only with the reason of `signal`. */
  explain(failure: Failure, signal: AbortSignal): Promise<Failure>;
}

/** Failures whose cause only `sys/health` tells: what it has to say, and what is put in the place of the clause after `vault at <address>`. */
const CAUSES: readonly {
  readonly of: Failure['kind'];
  readonly when: 'uninitialised' | 'standby';
  readonly clause: string;
  readonly fix: string;
}[] = [
  {
    // It answers as a sealed one does.
    of: 'sealed',
    when: 'uninitialised',
    clause: 'is not initialised',
    fix: INITIALISE,
  },
  {
    // Its forwarding fails without a word.
    of: 'server',
    when: 'standby',
    clause: 'is a standby that does not reach an active node',
    fix: `${FIND_ACTIVE}; or set fromCp.address to the active one`,
  },
];

export function createStateExplainer(
  open: (signal: AbortSignal) => Promise<VaultClient>,
  clock: IssuerDeps['clock'],
  closing: AbortSignal,
): StateExplainer {
  const state = remember(
    async (signal) => {
      const health = await (await open(signal)).health(signal);
      return {
        uninitialised: health.ok && !health.value.initialized,
        standby: health.ok && health.value.standby && !health.value.sealed,
      };
    },
    { clock, closing, loadTimeoutMs: HEALTH_TIMEOUT_MS, maxAgeMs: ASK_AGAIN_MS },
  );

  return {
    async explain(failure, signal) {
      const causes = CAUSES.filter(({ of }) => of === failure.kind);
      if (causes.length === 0) return failure;
      const known = await state.get(signal).catch(() => undefined);
      signal.throwIfAborted();
      const cause = causes.find(({ when }) => known?.[when] === true);
      if (cause === undefined) return failure;
      const message = failure.message.replace(/^(vault at \S+) .*? \(/, `$1 ${cause.clause} (`);
      return { ...failure, kind: cause.when, message, fix: cause.fix };
    },
  };
}
