import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import type { VaultClient } from './client.ts';
import type { Failure } from './failure.ts';
import { remember } from './remembered.ts';

/** Requests that meet a sealed Vault ask for more once in this time, all together. */
const ASK_AGAIN_MS = 2_000;
const HEALTH_TIMEOUT_MS = 5_000;

export interface SealExplainer {
  /** The same failure, or a better one. Rejects only with the reason of `signal`. */
  explain(failure: Failure, signal: AbortSignal): Promise<Failure>;
}

/** A Vault that was never initialised answers as a sealed one does; only `sys/health` tells them apart. */
export function createSealExplainer(
  open: (signal: AbortSignal) => Promise<VaultClient>,
  clock: IssuerDeps['clock'],
  closing: AbortSignal,
): SealExplainer {
  const state = remember(
    async (signal) => {
      const health = await (await open(signal)).health(signal);
      return { isInitialised: !health.ok || health.value.initialized };
    },
    { clock, closing, loadTimeoutMs: HEALTH_TIMEOUT_MS, maxAgeMs: ASK_AGAIN_MS },
  );

  return {
    async explain(failure, signal) {
      if (failure.kind !== 'sealed') return failure;
      const { isInitialised } = await state.get(signal).catch(() => ({ isInitialised: true }));
      signal.throwIfAborted();
      if (isInitialised) return failure;
      return {
        ...failure,
        kind: 'uninitialised',
        message: failure.message.replace('is sealed', 'is not initialised'),
        fix: 'initialise it: vault operator init, then unseal it: vault operator unseal',
      };
    },
  };
}
