/** A signal that fires with the first of the two, with its reason. `unlink` must be called when the work has ended. */
export function linkSignals(one: AbortSignal, other: AbortSignal): { readonly signal: AbortSignal; unlink(): void } {
  const controller = new AbortController();
  const onOne = () => controller.abort(one.reason);
  const onOther = () => controller.abort(other.reason);
  if (one.aborted) onOne();
  else if (other.aborted) onOther();
  one.addEventListener('abort', onOne, { once: true });
  other.addEventListener('abort', onOther, { once: true });
  return {
    signal: controller.signal,
    unlink() {
      one.removeEventListener('abort', onOne);
      other.removeEventListener('abort', onOther);
    },
  };
}
