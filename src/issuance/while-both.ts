import type { CallOptions } from '../issuer/issuer.ts';

/** Runs `work` with a signal that fires as soon as one of the two does, with its reason. Leaves no listener behind. */
export async function whileBoth<T>(
  one: AbortSignal,
  other: AbortSignal,
  work: (options: CallOptions) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const end = () => controller.abort(one.aborted ? one.reason : other.reason);
  if (one.aborted || other.aborted) end();
  one.addEventListener('abort', end, { once: true });
  other.addEventListener('abort', end, { once: true });
  try {
    return await work({ signal: controller.signal });
  } finally {
    one.removeEventListener('abort', end);
    other.removeEventListener('abort', end);
  }
}
