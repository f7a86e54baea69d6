import type { Operation, OperationCounts, SeenCall } from './calls.ts';
import type { CaSpec, FakeCa } from './certificate-authority.ts';
import type { FakeUser, UserSpec } from './users.ts';

export interface StrictAcmPcaOptions {
  /** The server's clock for validity, readiness, idempotency and quotas. Default: the system's. */
  readonly clock?: { now(): Date; monotonicMs(): number };
  /** What signatures are dated by. Default: the system's clock, because the AWS SDK signs with that. */
  readonly signingNow?: () => Date;
  /** Default `eu-west-1`. */
  readonly region?: string;
  /** Default `123456789012`. */
  readonly account?: string;
  /** Default `aws`. */
  readonly partition?: string;
  /** Calls a second. Defaults: AWS's own. */
  readonly quotas?: Partial<Readonly<Record<Operation, number>>>;
  /** From IssueCertificate until GetCertificate answers; a function gets the number of the certificate, from 0. Default 0. */
  readonly readyAfterMs?: number | ((index: number) => number);
  /** The first CA. Default: a root with an EC P-256 key. */
  readonly ca?: CaSpec;
}

/** An answer in place of the service's own. `hang` never answers, `reset` breaks the connection. */
export type Fault =
  | 'hang'
  | 'reset'
  | { readonly status: number; readonly headers?: Readonly<Record<string, string>>; readonly body?: string };

/** AWS Private CA over HTTP, as strict as the real one where the real one is known to be strict. */
export interface StrictAcmPca {
  readonly endpoint: string;
  readonly region: string;
  readonly account: string;
  readonly partition: string;
  readonly ca: FakeCa;
  /** May do what the files of policies/aws/ allow on `ca`. */
  readonly user: FakeUser;
  createCa(spec?: CaSpec): Promise<FakeCa>;
  createUser(spec: UserSpec): FakeUser;

  /** Added to both clocks of the server. */
  clockOffsetMs: number;
  readyAfterMs: number | ((index: number) => number);
  /** Every certificate that is issued from now on ends as RequestFailedException. */
  failIssuing: boolean;
  /** Every call is throttled, whatever the quotas say. */
  throttleAll: boolean;
  /** Asked before anything else of each call. */
  fault: (call: SeenCall) => Fault | undefined;

  /** Oldest first. */
  readonly calls: readonly SeenCall[];
  counts(operation: Operation): OperationCounts;
  /** Certificates that were issued, and would be on the bill. */
  readonly issuedCount: number;
  connections(): { readonly opened: number; readonly open: number };
  /** Resets every connection, as a load balancer does with idle ones. */
  dropConnections(): void;
  close(): Promise<void>;
}

export async function startStrictAcmPca(_options: StrictAcmPcaOptions = {}): Promise<StrictAcmPca> {
  throw new Error('not there yet');
}
