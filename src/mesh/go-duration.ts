/** Nanoseconds. Both letters that look like mu are Go's. */
const NS = {
  ns: 1n,
  us: 1_000n,
  µs: 1_000n,
  μs: 1_000n,
  ms: 1_000_000n,
  s: 1_000_000_000n,
  m: 60_000_000_000n,
  h: 3_600_000_000_000n,
} as const;

/** A Go duration has 63 bits of nanoseconds: about 292 years. */
const MAX_NS = 2n ** 63n - 1n;
const MAX_LENGTH = 100;
const PART = /([0-9]*)(?:\.([0-9]*))?(ns|us|µs|μs|ms|s|m|h)/y;

/**
 * What Go's `time.ParseDuration` reads, as kumactl and Kuma's API write it: `24h`, `24h30m0s`, `1.5h`, `-2m`, `0`; there are no days. In
 * milliseconds, with fractions; undefined when it is not one.
 */
export function parseGoDuration(text: string): number | undefined {
  if (text.length > MAX_LENGTH) return undefined;
  const [, sign, parts = ''] = /^([-+]?)(.*)$/s.exec(text) ?? [];
  if (parts === '0') return 0;
  let ns = 0n;
  PART.lastIndex = 0;
  do {
    const [, whole = '', fraction = '', unit] = PART.exec(parts) ?? [];
    if (unit === undefined || whole + fraction === '') return undefined;
    const unitNs = NS[unit as keyof typeof NS];
    ns += BigInt(whole) * unitNs + (BigInt(fraction) * unitNs) / 10n ** BigInt(fraction.length);
    if (ns > MAX_NS) return undefined;
  } while (PART.lastIndex < parts.length);
  const ms = Number(ns) / 1_000_000;
  return sign === '-' && ms > 0 ? -ms : ms;
}
