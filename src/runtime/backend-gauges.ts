/** What is read when metrics are asked for, so that the hot path pays nothing. What is not known has no series. */
export interface BackendReadings {
  /** Certificates that are being asked for. */
  readonly inFlight: number;
  /** Certificates that wait for a place. */
  readonly queued: number;
  /** Places of the endpoint, shared with the other backends of it. Undefined: there is no limit (CAs in this process). */
  readonly limit: number | undefined;
  readonly breaker: 'closed' | 'half-open' | 'open';
  /** Data planes that have to wait because their last request failed. */
  readonly held: number;
  readonly credentialExpiresAt: Date | undefined;
  /** The last proof by a test certificate. */
  readonly proof:
    | {
        readonly ok: boolean;
        readonly provenAt: Date;
        readonly durationMs: number;
        /** Earliest end of the CA certificates above the test certificate, and of the root. */
        readonly caExpiresAt: Date | undefined;
        readonly rootExpiresAt: Date | undefined;
      }
    | undefined;
}

export interface BackendGauge {
  readonly name: string;
  readonly help: string;
  /** Undefined: not known, so no series. */
  read(readings: BackendReadings, now: Date): number | undefined;
}

const BREAKER_STATES: Readonly<Record<BackendReadings['breaker'], number>> = { closed: 0, 'half-open': 1, open: 2 };

/** Unix time in seconds. */
const unixSeconds = (date: Date | undefined): number | undefined =>
  date === undefined ? undefined : date.getTime() / 1000;

/** What is read of a backend when metrics are asked for. docs/metrics.md says what to do about each. */
export const BACKEND_GAUGES: readonly BackendGauge[] = [
  {
    name: 'mesh_ca_backend_calls_in_flight',
    help: 'Certificates that a backend is being asked for',
    read: ({ inFlight }) => inFlight,
  },
  {
    name: 'mesh_ca_backend_calls_queued',
    help: 'Certificates that wait for a place among those under way',
    read: ({ queued }) => queued,
  },
  {
    name: 'mesh_ca_backend_places',
    help: 'Certificates that may be under way at once at the endpoint of a backend, all its backends together; adapts itself',
    read: ({ limit }) => limit,
  },
  {
    name: 'mesh_ca_backend_breaker_state',
    help: 'Whether a backend is held back as a whole: 0 closed (it is asked), 1 half-open (one request tries it), 2 open (it is not asked)',
    read: ({ breaker }) => BREAKER_STATES[breaker],
  },
  {
    name: 'mesh_ca_backend_held_dataplanes',
    help: 'Data planes that have to wait because their last request failed',
    read: ({ held }) => held,
  },
  {
    name: 'mesh_ca_backend_credential_expiry_timestamp_seconds',
    help: 'Unix time at which the credential that mesh-ca holds for a backend ends; no series when it does not end',
    read: ({ credentialExpiresAt }) => unixSeconds(credentialExpiresAt),
  },
  {
    name: 'mesh_ca_backend_proof_ok',
    help: 'Whether the last proof by a test certificate passed: 1 or 0; no series before the first',
    read: ({ proof }) => proof && Number(proof.ok),
  },
  {
    name: 'mesh_ca_backend_proof_timestamp_seconds',
    help: 'Unix time of the last proof by a test certificate',
    read: ({ proof }) => unixSeconds(proof?.provenAt),
  },
  {
    name: 'mesh_ca_backend_proof_age_seconds',
    help: 'Time since the last proof by a test certificate',
    // A proof of an instance whose clock is ahead is not older than none.
    read: ({ proof }, now) => proof && Math.max(0, (now.getTime() - proof.provenAt.getTime()) / 1000),
  },
  {
    name: 'mesh_ca_backend_proof_duration_seconds',
    help: 'What the last proof by a test certificate took',
    read: ({ proof }) => proof && proof.durationMs / 1000,
  },
  {
    name: 'mesh_ca_backend_ca_expiry_timestamp_seconds',
    help: 'Unix time of the earliest end of the CA certificates above the last test certificate',
    read: ({ proof }) => unixSeconds(proof?.caExpiresAt),
  },
  {
    name: 'mesh_ca_backend_root_expiry_timestamp_seconds',
    help: 'Unix time at which the root above the last test certificate ends',
    read: ({ proof }) => unixSeconds(proof?.rootExpiresAt),
  },
];
