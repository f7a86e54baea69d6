import type { Clock } from './clock.ts';
import type { Log, LogFields } from './log.ts';

export interface CalmLogOptions {
  /** Equal warnings in this time are one line. Default 10 s. */
  readonly everyMs?: number;
  /** Kinds of warnings that are told apart at the same time. Default 1,000. */
  readonly maxKinds?: number;
}

interface Kind {
  nextAtMs: number;
  repeated: number;
}

/** What tells warnings apart, beside their text: not the data plane, of which thousands may fail for one reason. */
const TELLING = ['mesh', 'backend', 'code'] as const;

/**
 * A log that is not flooded when a backend fails for thousands of data planes: of equal warnings the first is written at once, the others are counted, and the
 * first after `everyMs` says `repeated`. Everything but warnings goes through as it is.
 */
export function createCalmLog(log: Log, clock: Pick<Clock, 'monotonicMs'>, options: CalmLogOptions = {}): Log {
  const { everyMs = 10_000, maxKinds = 1000 } = options;
  const kinds = new Map<string, Kind>();

  function warn(fields: LogFields, message: string): void {
    const key = [message, ...TELLING.map((field) => String(fields[field] ?? ''))].join('\n');
    const nowMs = clock.monotonicMs();
    const known = kinds.get(key);
    if (known !== undefined && nowMs < known.nextAtMs) {
      known.repeated += 1;
      return;
    }
    const repeated = known?.repeated ?? 0;
    // Written last, so that the oldest stand first.
    kinds.delete(key);
    kinds.set(key, { nextAtMs: nowMs + everyMs, repeated: 0 });
    const [oldest] = kinds.keys();
    if (kinds.size > maxKinds && oldest !== undefined) kinds.delete(oldest);
    log.warn(repeated === 0 ? fields : { ...fields, repeated }, message);
  }

  return {
    debug: (fields, message) => log.debug(fields, message),
    info: (fields, message) => log.info(fields, message),
    warn,
    error: (fields, message) => log.error(fields, message),
    child: (fields) => createCalmLog(log.child(fields), clock, options),
  };
}
