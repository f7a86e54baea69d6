import { CaError } from '../../src/issuer/errors.ts';
import type { Check } from '../../src/issuer/issuer.ts';

export interface Finding {
  readonly message: string;
  readonly fix?: string | undefined;
}

/** Makes the named findings of an inspection, which all begin with the type of the backend. */
export function createChecks(type: string) {
  const of = (ok: boolean, name: string, { message, fix }: Finding, cause?: string): Check => ({
    name: `${type}.${name}`,
    ok,
    message,
    ...(cause !== undefined && { cause }),
    ...(fix !== undefined && { fix }),
  });
  const pass = (name: string, message: string, fix?: string) => of(true, name, { message, fix });
  const fail = (name: string, finding: Finding, cause?: string) => of(false, name, finding, cause);

  /**
   * @param skewMs how far the other clock is ahead of ours
   * @param theirs whose it is: `AWS's`
   */
  function clock(skewMs: number, maxMs: number, theirs: string): Check {
    if (Math.abs(skewMs) <= maxMs) return pass('clock', 'the clocks agree');
    const message = `${theirs} clock is ${Math.round(Math.abs(skewMs) / 1000)} s ${skewMs > 0 ? 'ahead of' : 'behind'} ours`;
    const fix = 'synchronise both clocks by NTP: timedatectl status';
    return fail('clock', { message, fix }, 'certificates would not be valid yet, or end too early');
  }

  return { pass, fail, clock };
}

/** The value, or the error of ours that it failed with; anything else is rethrown. */
export async function attempt<T>(work: () => T | Promise<T>, signal: AbortSignal): Promise<T | CaError> {
  try {
    return await work();
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof CaError) return error;
    throw error;
  }
}
