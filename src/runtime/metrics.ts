import { Histogram, Registry } from 'prom-client';
import type { BackendReadings } from './backend-gauges.ts';
import {
  type BackendLabels,
  type BackendMetrics,
  type BackendSeries,
  createBackendSeries,
  DURATION_BUCKETS,
} from './backend-metrics.ts';
import { type Clock, systemClock } from './clock.ts';
import { createMeshGauges, type MeshReadings } from './mesh-gauges.ts';
import { addProcessMetrics } from './process-metrics.ts';
import { createSdsSeries, type SdsCounters, type SdsReadings } from './sds-metrics.ts';

export type { BackendReadings } from './backend-gauges.ts';
export type { BackendLabels, BackendMetrics } from './backend-metrics.ts';
export type { MeshReadings, RotationReadings } from './mesh-gauges.ts';

export interface Metrics {
  /** The same handle for the same labels. */
  backend(labels: BackendLabels): BackendMetrics;
  /** Tells where readings come from. The last one counts. */
  readFrom(read: (labels: BackendLabels) => BackendReadings | undefined): void;
  /** Tells where readings of meshes come from. The last one counts. */
  readMeshesFrom(read: () => Iterable<MeshReadings>): void;
  /** Tells where readings of the Secret Discovery Service come from; never called where it is switched off, and there are no series of it. */
  readSdsFrom(read: () => SdsReadings): void;
  readonly sds: SdsCounters;
  /** Forgets every series of a backend that is gone. */
  removeBackend(labels: BackendLabels): void;
  /** `route` is a pattern such as `/meshes/{mesh}/secrets`, never a raw path. */
  observeHttp(method: string, route: string, status: number, durationMs: number): void;
  /** Prometheus text format. */
  text(): Promise<string>;
  readonly contentType: string;
}

export interface MetricsOptions {
  /** The ages of proofs are measured by it. */
  readonly clock?: Pick<Clock, 'now'>;
}

const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);
/** Label values that come from outside are counted; what is over the cap shares one series. */
const MAX_BACKENDS = 2000;
const MAX_ROUTES = 200;
const OTHER = 'other';

/** Metrics in a registry of their own: two instances share nothing. Holds no timer and no observer. */
export function createMetrics({ clock = systemClock }: MetricsOptions = {}): Metrics {
  const registry = new Registry();
  const backendSeries = createBackendSeries(registry);
  const http = new Histogram({
    name: 'mesh_ca_http_request_duration_seconds',
    help: 'Answered HTTP requests',
    labelNames: ['method', 'route', 'status'],
    buckets: DURATION_BUCKETS,
    registers: [registry],
  });
  const setMeshGauges = createMeshGauges(registry);
  const sdsSeries = createSdsSeries(registry);
  addProcessMetrics(registry);

  const backends = new Map<string, BackendSeries>();
  const routes = new Set<string>();
  const httpHandles = new Map<string, Histogram.Internal<string>>();
  let readBackend: (labels: BackendLabels) => BackendReadings | undefined = () => undefined;
  let readMeshes: () => Iterable<MeshReadings> = () => [];
  let readSds: (() => SdsReadings) | undefined;

  return {
    backend(given) {
      const full = backends.size >= MAX_BACKENDS && !backends.has(backendKey(given));
      const labels = full ? { mesh: OTHER, backend: OTHER, type: given.type } : given;
      const key = backendKey(labels);
      const known = backends.get(key) ?? backendSeries.create(labels);
      backends.set(key, known);
      return known.handle;
    },

    readFrom(read) {
      readBackend = read;
    },

    readMeshesFrom(read) {
      readMeshes = read;
    },

    readSdsFrom(read) {
      readSds = read;
    },
    sds: sdsSeries.counters,

    removeBackend(labels) {
      const key = backendKey(labels);
      backends.get(key)?.remove();
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
      const readings = [...backends.values()].map(({ labels }) => [labels, readBackend(labels)] as const);
      backendSeries.setGauges(readings, clock.now());
      setMeshGauges(readMeshes());
      if (readSds !== undefined) sdsSeries.set(readSds());
      return registry.metrics();
    },
    contentType: registry.contentType,
  };
}

const backendKey = ({ mesh, backend, type }: BackendLabels): string => `${mesh}\0${backend}\0${type}`;
