import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { addProcessMetrics } from './process-metrics.ts';

/** The one label set of everything about a backend. */
export interface BackendLabels {
  readonly mesh: string;
  readonly backend: string;
  readonly type: string;
}

/** Read when metrics are asked for, so that the hot path pays nothing. */
export interface BackendLoad {
  /** Calls under way. */
  readonly inFlight: number;
  /** Calls that wait for a place. */
  readonly queued: number;
}

/** Handles of one backend, labels already resolved. */
export interface BackendMetrics {
  /** One call of the issuer has ended. `result`: `ok` or an error code of issuer/errors.ts. */
  observe(call: string, result: string, durationMs: number): void;
  /** One request for a certificate was answered. `outcome`: `issued`, `reused`, `kept`, `stale` or an error code. */
  certificate(outcome: string): void;
  /** Tells where the load is read from. The last one counts; `undefined` when there is no load any more. */
  watchLoad(read: (() => BackendLoad) | undefined): void;
}

export interface Metrics {
  /** The same handle for the same labels. */
  backend(labels: BackendLabels): BackendMetrics;
  /** Forgets every series of a backend that is gone. */
  removeBackend(labels: BackendLabels): void;
  /** `route` is a pattern such as `/meshes/{mesh}/secrets`, never a raw path. */
  observeHttp(method: string, route: string, status: number, durationMs: number): void;
  /** Prometheus text format. */
  text(): Promise<string>;
  readonly contentType: string;
}

const DURATION_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
const BACKEND_LABELS = ['mesh', 'backend', 'type'] as const;
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);
/** Label values that come from outside are counted; what is over the cap shares one series. */
const MAX_BACKENDS = 2000;
const MAX_ROUTES = 200;
const OTHER = 'other';

interface CachedBackend {
  readonly labels: BackendLabels;
  readonly handle: BackendMetrics;
  readLoad: () => BackendLoad;
  removeSeries(): void;
}

const NO_LOAD: BackendLoad = { inFlight: 0, queued: 0 };

/** Metrics in a registry of their own: two instances share nothing. Holds no timer and no observer. */
export function createMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];
  const certificates = new Counter({
    name: 'mesh_ca_certificates_total',
    help: 'Answered requests for a data plane certificate, by outcome',
    labelNames: [...BACKEND_LABELS, 'outcome'],
    registers,
  });
  const calls = new Histogram({
    name: 'mesh_ca_backend_call_duration_seconds',
    help: 'Calls to a backend, by call and result (ok or an error code)',
    labelNames: [...BACKEND_LABELS, 'call', 'result'],
    buckets: DURATION_BUCKETS,
    registers,
  });
  const inFlight = new Gauge({
    name: 'mesh_ca_backend_calls_in_flight',
    help: 'Calls to a backend that are under way',
    labelNames: BACKEND_LABELS,
    registers,
  });
  const queued = new Gauge({
    name: 'mesh_ca_backend_calls_queued',
    help: 'Calls to a backend that wait for a place',
    labelNames: BACKEND_LABELS,
    registers,
  });
  const http = new Histogram({
    name: 'mesh_ca_http_request_duration_seconds',
    help: 'Answered HTTP requests',
    labelNames: ['method', 'route', 'status'],
    buckets: DURATION_BUCKETS,
    registers,
  });
  addProcessMetrics(registry);

  const backends = new Map<string, CachedBackend>();
  const routes = new Set<string>();
  const httpHandles = new Map<string, Histogram.Internal<string>>();

  function createBackend(labels: BackendLabels): CachedBackend {
    const { mesh, backend, type } = labels;
    const callSeries = createSeriesCache(
      (call, result) => calls.labels(mesh, backend, type, call, result),
      (call, result) => calls.remove(mesh, backend, type, call, result),
    );
    const outcomeSeries = createSeriesCache(
      (outcome) => certificates.labels(mesh, backend, type, outcome),
      (outcome) => certificates.remove(mesh, backend, type, outcome),
    );
    const created: CachedBackend = {
      labels,
      readLoad: () => NO_LOAD,
      handle: {
        observe: (call, result, durationMs) => callSeries.get(call, result).observe(durationMs / 1000),
        certificate: (outcome) => outcomeSeries.get(outcome, '').inc(),
        watchLoad(read) {
          created.readLoad = read ?? (() => NO_LOAD);
        },
      },
      removeSeries() {
        callSeries.removeAll();
        outcomeSeries.removeAll();
        inFlight.remove(mesh, backend, type);
        queued.remove(mesh, backend, type);
      },
    };
    return created;
  }

  return {
    backend(given) {
      const full = backends.size >= MAX_BACKENDS && !backends.has(backendKey(given));
      const labels = full ? { mesh: OTHER, backend: OTHER, type: given.type } : given;
      const key = backendKey(labels);
      const known = backends.get(key) ?? createBackend(labels);
      backends.set(key, known);
      return known.handle;
    },

    removeBackend(labels) {
      const key = backendKey(labels);
      backends.get(key)?.removeSeries();
      backends.delete(key);
    },

    observeHttp(givenMethod, givenRoute, status, durationMs) {
      const key = `${givenMethod} ${givenRoute} ${status}`;
      let handle = httpHandles.get(key);
      if (handle === undefined) {
        const method = METHODS.has(givenMethod) ? givenMethod : OTHER;
        const known = routes.has(givenRoute) || routes.size < MAX_ROUTES;
        if (known) routes.add(givenRoute);
        handle = http.labels(method, known ? givenRoute : OTHER, String(status));
        if (known && method !== OTHER) httpHandles.set(key, handle);
      }
      handle.observe(durationMs / 1000);
    },

    async text() {
      for (const { labels, readLoad } of backends.values()) {
        const load = readLoad();
        inFlight.set({ ...labels }, load.inFlight);
        queued.set({ ...labels }, load.queued);
      }
      return registry.metrics();
    },
    contentType: registry.contentType,
  };
}

const backendKey = ({ mesh, backend, type }: BackendLabels): string => `${mesh}\0${backend}\0${type}`;

interface SeriesCache<Series> {
  get(first: string, second: string): Series;
  removeAll(): void;
}

/** Series by two label values; two levels, so that no text is put together on the hot path. */
function createSeriesCache<Series>(
  create: (first: string, second: string) => Series,
  remove: (first: string, second: string) => void,
): SeriesCache<Series> {
  const byFirst = new Map<string, Map<string, Series>>();
  return {
    get(first, second) {
      const bySecond = byFirst.get(first) ?? new Map<string, Series>();
      if (bySecond.size === 0) byFirst.set(first, bySecond);
      const series = bySecond.get(second) ?? create(first, second);
      if (!bySecond.has(second)) bySecond.set(second, series);
      return series;
    },
    removeAll() {
      for (const [first, bySecond] of byFirst) for (const second of bySecond.keys()) remove(first, second);
      byFirst.clear();
    },
  };
}
