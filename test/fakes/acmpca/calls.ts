export const OPERATIONS = [
  'IssueCertificate',
  'GetCertificate',
  'DescribeCertificateAuthority',
  'GetCertificateAuthorityCertificate',
] as const;
export type Operation = (typeof OPERATIONS)[number];

/** One call as it arrived, and what became of it. */
export interface SeenCall {
  /** The name after `ACMPrivateCA.`, known or not. */
  readonly operation: string;
  readonly accessKeyId: string;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly body: Readonly<Record<string, unknown>>;
  /** On the server's monotonic clock. */
  readonly atMs: number;
  /** `ThrottlingException`..., `fault` for an injected answer, '' when it was done. */
  error: string;
}

export interface OperationCounts {
  readonly calls: number;
  readonly accepted: number;
  /** By any error, throttling among them. */
  readonly refused: number;
  readonly throttled: number;
  /** The most that arrived within any second. */
  readonly maxPerSecond: number;
}

export function countCalls(calls: readonly SeenCall[], operation: Operation): OperationCounts {
  const own = calls.filter((call) => call.operation === operation);
  const accepted = own.filter(({ error }) => error === '').length;
  let maxPerSecond = 0;
  let first = 0;
  for (const [last, { atMs }] of own.entries()) {
    while ((own[first]?.atMs ?? atMs) <= atMs - 1000) first++;
    maxPerSecond = Math.max(maxPerSecond, last - first + 1);
  }
  const throttled = own.filter(({ error }) => error === 'ThrottlingException').length;
  return { calls: own.length, accepted, refused: own.length - accepted, throttled, maxPerSecond };
}
