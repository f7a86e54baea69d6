import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import { BACKEND_GAUGES, type BackendReadings } from './backend-gauges.ts';
import { createSeriesCache } from './series-cache.ts';

/** The one label set of everything about a backend. */
export interface BackendLabels {
  readonly mesh: string;
  readonly backend: string;
  readonly type: string;
}

/** Handles of one backend, labels already resolved. After the backend is removed they do nothing: a call that ends late brings no series back. */
export interface BackendMetrics {
  /** One call of the issuer has ended. `result`: `ok` or an error code of issuer/errors.ts. */
  observe(call: string, result: string, durationMs: number): void;
  /** One request for a certificate was answered. `outcome`: `issued`, `reused`, `kept`, `stale` or an error code. */
  certificate(outcome: string): void;
  /** A certificate has waited for its place among those under way. */
  waited(durationMs: number): void;
  /** A request went out to the backend. */
  request(): void;
  /** A certificate was asked for, by so many requests in all. */
  requestsOfCertificate(requests: number): void;
}

export interface BackendSeries {
  readonly labels: BackendLabels;
  readonly handle: BackendMetrics;
  remove(): void;
}

export interface BackendSeriesFactory {
  create(labels: BackendLabels): BackendSeries;
  /** Sets the gauges of these backends, and forgets those of all others. */
  setGauges(readings: Iterable<readonly [BackendLabels, BackendReadings | undefined]>, now: Date): void;
}

/** Seconds; of calls, waits and HTTP requests alike. */
export const DURATION_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
/** A certificate should take three requests at most: there every one has its bucket. */
const REQUEST_BUCKETS = [0, 1, 2, 3, 4, 5, 10];
const LABELS = ['mesh', 'backend', 'type'] as const;

/** The series of all backends, which have the same names and labels whatever their type. */
export function createBackendSeries(registry: Registry): BackendSeriesFactory {
  const registers = [registry];
  const labelNames = LABELS;
  const certificates = new Counter({
    name: 'mesh_ca_certificates_total',
    help: 'Answered requests for a data plane certificate, by outcome',
    labelNames: [...LABELS, 'outcome'],
    registers,
  });
  const calls = new Histogram({
    name: 'mesh_ca_backend_call_duration_seconds',
    help: 'Calls to a backend, by call and result (ok or an error code)',
    labelNames: [...LABELS, 'call', 'result'],
    buckets: DURATION_BUCKETS,
    registers,
  });
  const waits = new Histogram({
    name: 'mesh_ca_backend_queue_wait_seconds',
    help: 'Waits of certificates for a place among those under way',
    labelNames,
    buckets: DURATION_BUCKETS,
    registers,
  });
  const requests = new Counter({
    name: 'mesh_ca_backend_requests_total',
    help: 'Requests that went out to a backend, tries again, logins and looks included',
    labelNames,
    registers,
  });
  const requestsPerCertificate = new Histogram({
    name: 'mesh_ca_backend_requests_per_certificate',
    help: 'Requests to a backend that one certificate took, whether it was issued or not',
    labelNames,
    buckets: REQUEST_BUCKETS,
    registers,
  });
  const gauges = BACKEND_GAUGES.map(({ name, help, read }) => ({
    gauge: new Gauge({ name, help, labelNames, registers }),
    read,
  }));

  return {
    create(labels) {
      const { mesh, backend, type } = labels;
      const callSeries = createSeriesCache(
        (call, result) => calls.labels(mesh, backend, type, call, result),
        (call, result) => calls.remove(mesh, backend, type, call, result),
      );
      const outcomeSeries = createSeriesCache(
        (outcome) => certificates.labels(mesh, backend, type, outcome),
        (outcome) => certificates.remove(mesh, backend, type, outcome),
      );
      const ofRequests = requests.labels(mesh, backend, type);
      const ofWaits = waits.labels(mesh, backend, type);
      const ofCertificates = requestsPerCertificate.labels(mesh, backend, type);
      // They stand at 0 from the start, so that the first event is an increase.
      ofRequests.inc(0);
      waits.zero({ mesh, backend, type });
      requestsPerCertificate.zero({ mesh, backend, type });
      let gone = false;
      return {
        labels,
        handle: {
          observe(call, result, durationMs) {
            if (!gone) callSeries.get(call, result).observe(durationMs / 1000);
          },
          certificate(outcome) {
            if (!gone) outcomeSeries.get(outcome, '').inc();
          },
          waited(durationMs) {
            if (!gone) ofWaits.observe(durationMs / 1000);
          },
          request() {
            if (!gone) ofRequests.inc();
          },
          requestsOfCertificate(count) {
            if (!gone) ofCertificates.observe(count);
          },
        },
        remove() {
          gone = true;
          callSeries.removeAll();
          outcomeSeries.removeAll();
          for (const metric of [waits, requests, requestsPerCertificate]) metric.remove(mesh, backend, type);
        },
      };
    },

    setGauges(readings, now) {
      for (const { gauge } of gauges) gauge.reset();
      for (const [{ mesh, backend, type }, known] of readings) {
        if (known === undefined) continue;
        for (const { gauge, read } of gauges) {
          const value = read(known, now);
          if (value !== undefined) gauge.set({ mesh, backend, type }, value);
        }
      }
    },
  };
}
