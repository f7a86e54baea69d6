import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import type { ProxyName } from './proxy-name.ts';

/** A proxy that is refused comes again every few seconds: the same is told once in this time, */
const TELL_AGAIN_MS = 300_000;
/** and so many lines at most, whoever comes. */
const MOST_LINES = 50;

/** Tells the log who was refused a stream, and why. @returns to be called for each refusal; `who` is what the proxy says, unproven */
export function createRefusalLog({
  log,
  clock,
}: {
  readonly log: Log;
  readonly clock: Pick<Clock, 'monotonicMs'>;
}): (who: ProxyName | undefined, error: unknown) => void {
  const told = new Set<string>();
  let beganMs = Number.NEGATIVE_INFINITY;
  return (who, error) => {
    const nowMs = clock.monotonicMs();
    if (nowMs - beganMs >= TELL_AGAIN_MS) {
      told.clear();
      beganMs = nowMs;
    }
    const line = JSON.stringify([who?.mesh, who?.dataplane, error instanceof Error ? error.message : '']);
    if (told.has(line) || told.size >= MOST_LINES) return;
    told.add(line);
    log.warn({ ...who, err: error }, 'SDS: a proxy was refused');
  };
}
