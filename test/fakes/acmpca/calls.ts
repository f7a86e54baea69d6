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
  /** `ThrottlingException`..., '' when it was done, undefined while it is not answered. */
  error: string | undefined;
}

export interface OperationCounts {
  readonly calls: number;
  readonly accepted: number;
  readonly refused: number;
  readonly throttled: number;
  /** The most that arrived within any second. */
  readonly maxPerSecond: number;
}
