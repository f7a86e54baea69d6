import pLimit from 'p-limit';
import type { Backend } from '../backends/backend.ts';
import type { CallOptions } from '../issuer/issuer.ts';
import type { Proof } from './proof.ts';

/**
 * So many backends of one Mesh are proven at once: all of them, as a rule. More would get in each other's way and miss the short deadlines of their looks,
 * at us or at the one server behind them. 64 backends that all hang take four times as long as one.
 */
const AT_ONCE = 16;

/** Proves what belongs together. @returns each with its proof, in order. Rejects with the signal's reason */
export function proveAll<T extends { readonly backend: Backend }>(
  all: readonly T[],
  prove: (backend: Backend, options: CallOptions) => Promise<Proof>,
  options: CallOptions,
): Promise<(T & { readonly proof: Proof })[]> {
  return pLimit(AT_ONCE).map(all, async (one) => ({ ...one, proof: await prove(one.backend, options) }));
}
