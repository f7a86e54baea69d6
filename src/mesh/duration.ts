const MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000, y: 31_536_000_000 } as const;

/** Go counts durations in nanoseconds in 63 bits; what Kuma cannot hold is no duration here. */
const MAX_MS = Number((2n ** 63n - 1n) / 1_000_000n);

/**
 * Kuma's grammar for `dpCert.rotation.expiration` and `caCert.expiration`: one integer and one unit of `y w d h m s ms` (a year has
 * 365 days), or `0`. In milliseconds; undefined when it is not one (`1h30m`, `1.5h`, `-1d`, empty, more than 292 years).
 */
export function parseDuration(text: string): number | undefined {
  if (text === '0') return 0;
  const match = /^([0-9]{1,20})(ms|[ywdhms])$/.exec(text);
  if (!match?.[1]) return undefined;
  const ms = Number(match[1]) * MS[match[2] as keyof typeof MS];
  return ms <= MAX_MS ? ms : undefined;
}

/** Protobuf's limit on the seconds of a Duration: about 10,000 years. */
const MAX_SECONDS = 315_576_000_000;

/** A protobuf Duration. `seconds` and `nanos` have the same sign. */
export interface ProtobufDuration {
  readonly seconds: number;
  readonly nanos: number;
}

/** Reads the JSON forms of a protobuf Duration: `'10s'`, `'0.5s'`, and `{seconds, nanos}` as some tools write it. */
export function readProtobufDuration(value: unknown): ProtobufDuration | undefined {
  if (typeof value === 'string') return readDurationText(value);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const { seconds = 0, nanos = 0, ...others } = value as Record<string, unknown>;
  if (Object.keys(others).length > 0) return undefined;
  const wholeSeconds = readInteger(seconds);
  const wholeNanos = readInteger(nanos);
  if (wholeSeconds === undefined || wholeNanos === undefined) return undefined;
  if (Math.abs(wholeSeconds) > MAX_SECONDS || Math.abs(wholeNanos) > 999_999_999) return undefined;
  if (wholeSeconds * wholeNanos < 0) return undefined;
  return { seconds: wholeSeconds, nanos: wholeNanos };
}

/** `'10s'`, `'0.5s'` in milliseconds (fractions kept); undefined when it is not one. */
export function parseProtobufDuration(text: string): number | undefined {
  const duration = readDurationText(text);
  return duration && protobufDurationMs(duration);
}

export function protobufDurationMs({ seconds, nanos }: ProtobufDuration): number {
  return seconds * 1000 + nanos / 1_000_000;
}

export function protobufDurationOf(ms: number): ProtobufDuration {
  const seconds = Math.trunc(ms / 1000);
  return { seconds, nanos: Math.round((ms - seconds * 1000) * 1_000_000) };
}

/** Protobuf's canonical JSON: seconds with 0, 3, 6 or 9 digits after the point. */
export function formatProtobufDuration({ seconds, nanos }: ProtobufDuration): string {
  const sign = seconds < 0 || nanos < 0 ? '-' : '';
  const digits = String(Math.abs(nanos))
    .padStart(9, '0')
    .replace(/(000){1,3}$/, '');
  return `${sign}${Math.abs(seconds)}${digits === '' ? '' : `.${digits}`}s`;
}

function readDurationText(text: string): ProtobufDuration | undefined {
  const match = /^(-?)([0-9]{1,12})(?:\.([0-9]{1,9}))?s$/.exec(text);
  if (!match?.[2]) return undefined;
  const sign = match[1] === '-' ? -1 : 1;
  const seconds = Number(match[2]);
  if (seconds > MAX_SECONDS) return undefined;
  const nanos = Number((match[3] ?? '').padEnd(9, '0'));
  return { seconds: sign * seconds || 0, nanos: sign * nanos || 0 };
}

function readInteger(value: unknown): number | undefined {
  const number = typeof value === 'string' && /^-?[0-9]{1,15}$/.test(value) ? Number(value) : value;
  return typeof number === 'number' && Number.isSafeInteger(number) ? number : undefined;
}
