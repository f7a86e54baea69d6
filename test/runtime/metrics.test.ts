import { describe, expect, it } from 'vitest';
import { type BackendReadings, createMetrics, type MeshReadings, type Metrics } from '../../src/runtime/metrics.ts';

const CA = { mesh: 'default', backend: 'ca-1', type: 'builtin' };
const OF_CA = '{mesh="default",backend="ca-1",type="builtin"}';
const NOW = new Date('2026-01-02T03:04:05Z');
const later = (seconds: number) => new Date(NOW.getTime() + seconds * 1000);

/** Metrics whose clock stands at NOW. */
const createStill = () => createMetrics({ clock: { now: () => NOW } });

/** Lines of one metric, without help, type and buckets. */
async function linesOf(metrics: Metrics, name: string): Promise<string[]> {
  const lines = (await metrics.text()).split('\n');
  return lines.filter((line) => line.startsWith(name) && !line.includes('_bucket'));
}

/** Value by name of every series of CA that has no other labels. */
async function valuesOf(metrics: Metrics): Promise<Record<string, number>> {
  const lines = (await metrics.text()).split('\n').filter((line) => line.includes(`${OF_CA} `));
  return Object.fromEntries(lines.map((line) => [line.split('{')[0], Number(line.split(' ')[1])]));
}

const NOTHING_KNOWN: BackendReadings = {
  inFlight: 0,
  queued: 0,
  limit: undefined,
  breaker: 'closed',
  held: 0,
  credentialExpiresAt: undefined,
  proof: undefined,
};
const ALL_KNOWN: BackendReadings = {
  inFlight: 2,
  queued: 7,
  limit: 16,
  breaker: 'open',
  held: 12,
  credentialExpiresAt: later(3600),
  proof: {
    ok: true,
    provenAt: later(-90),
    durationMs: 812,
    caExpiresAt: later(86_400),
    rootExpiresAt: later(864_000),
  },
};

describe('metrics', () => {
  it('count certificates and time calls by backend, with one label set', async () => {
    const metrics = createMetrics();
    const backend = metrics.backend(CA);
    backend.certificate('issued');
    backend.certificate('issued');
    backend.certificate('ERR_ISSUER_DENIED');
    backend.observe('sign', 'ok', 250);
    expect(await linesOf(metrics, 'mesh_ca_certificates_total')).toEqual([
      'mesh_ca_certificates_total{mesh="default",backend="ca-1",type="builtin",outcome="issued"} 2',
      'mesh_ca_certificates_total{mesh="default",backend="ca-1",type="builtin",outcome="ERR_ISSUER_DENIED"} 1',
    ]);
    expect(await linesOf(metrics, 'mesh_ca_backend_call_duration_seconds')).toEqual([
      'mesh_ca_backend_call_duration_seconds_sum{mesh="default",backend="ca-1",type="builtin",call="sign",result="ok"} 0.25',
      'mesh_ca_backend_call_duration_seconds_count{mesh="default",backend="ca-1",type="builtin",call="sign",result="ok"} 1',
    ]);
  });

  it('count requests, requests of a certificate, and waits in seconds; all stand at 0 from the start', async () => {
    const metrics = createMetrics();
    const backend = metrics.backend(CA);
    const names = [
      'mesh_ca_backend_requests_total',
      'mesh_ca_backend_requests_per_certificate_count',
      'mesh_ca_backend_requests_per_certificate_sum',
      'mesh_ca_backend_queue_wait_seconds_count',
      'mesh_ca_backend_queue_wait_seconds_sum',
    ];
    const before = await valuesOf(metrics);
    expect(names.map((name) => before[name])).toEqual([0, 0, 0, 0, 0]);
    for (let requests = 0; requests < 5; requests += 1) backend.request();
    backend.requestsOfCertificate(3);
    backend.requestsOfCertificate(2);
    backend.waited(1500);
    const after = await valuesOf(metrics);
    expect(names.map((name) => after[name])).toEqual([5, 2, 5, 1, 1.5]);
  });

  it('tell apart certificates that took up to three requests and more', async () => {
    const metrics = createMetrics();
    const backend = metrics.backend(CA);
    for (const requests of [0, 1, 3, 4, 11]) backend.requestsOfCertificate(requests);
    const buckets = (await metrics.text())
      .split('\n')
      .filter((line) => line.startsWith('mesh_ca_backend_requests_per_certificate_bucket'))
      .map((line) => [/le="([^"]+)"/.exec(line)?.[1], Number(line.split(' ')[1])]);
    expect(buckets).toEqual([
      ['0', 1],
      ['1', 2],
      ['2', 2],
      ['3', 3],
      ['4', 4],
      ['5', 4],
      ['10', 4],
      ['+Inf', 5],
    ]);
  });

  it('give the same handle for the same backend', () => {
    const metrics = createMetrics();
    expect(metrics.backend({ ...CA })).toBe(metrics.backend(CA));
    expect(metrics.backend({ ...CA, backend: 'ca-2' })).not.toBe(metrics.backend(CA));
  });

  it('forget every series of a backend that is gone, also when a call of it ends late', async () => {
    const metrics = createStill();
    metrics.readFrom(() => ALL_KNOWN);
    const use = (backend: ReturnType<Metrics['backend']>) => {
      backend.certificate('issued');
      backend.observe('sign', 'ok', 1);
      backend.request();
      backend.requestsOfCertificate(1);
      backend.waited(1);
    };
    const backend = metrics.backend(CA);
    use(backend);
    use(metrics.backend({ ...CA, backend: 'ca-2' }));
    expect((await metrics.text()).match(/backend="ca-1"/g)?.length).toBeGreaterThan(20);
    metrics.removeBackend(CA);
    use(backend);
    const text = await metrics.text();
    expect(text).not.toContain('backend="ca-1"');
    expect(text).toContain('backend="ca-2"');
    use(metrics.backend(CA));
    expect((await valuesOf(metrics)).mesh_ca_backend_requests_total).toBe(1);
  });

  it('time HTTP requests by route and status, and bound what comes from outside', async () => {
    const metrics = createMetrics();
    metrics.observeHttp('GET', '/meshes/{mesh}', 200, 10);
    metrics.observeHttp('BREW', '/meshes/{mesh}', 405, 10);
    for (let route = 0; route < 500; route += 1) metrics.observeHttp('GET', `/raw/${route}`, 404, 1);
    const counts = await linesOf(metrics, 'mesh_ca_http_request_duration_seconds_count');
    expect(counts).toContain(
      'mesh_ca_http_request_duration_seconds_count{method="GET",route="/meshes/{mesh}",status="200"} 1',
    );
    expect(counts).toContain(
      'mesh_ca_http_request_duration_seconds_count{method="other",route="/meshes/{mesh}",status="405"} 1',
    );
    expect(counts).toContain(
      'mesh_ca_http_request_duration_seconds_count{method="GET",route="other",status="404"} 301',
    );
    expect(counts.length).toBeLessThan(210);
  });

  it('put backends over the cap into one series', async () => {
    const metrics = createMetrics();
    for (let mesh = 0; mesh < 2010; mesh += 1) metrics.backend({ ...CA, mesh: `m${mesh}` }).certificate('issued');
    const counts = await linesOf(metrics, 'mesh_ca_certificates_total');
    expect(counts).toHaveLength(2001);
    expect(counts.at(-1)).toBe(
      'mesh_ca_certificates_total{mesh="other",backend="other",type="builtin",outcome="issued"} 10',
    );
  });

  it('share nothing between two instances', async () => {
    const [one, two] = [createMetrics(), createMetrics()];
    one.backend(CA).certificate('issued');
    expect(await two.text()).not.toContain('ca-1');
  });

  it('tell about the process, in the format that they name', async () => {
    const metrics = createMetrics();
    const text = await metrics.text();
    for (const name of ['process_resident_memory_bytes', 'process_cpu_seconds_total', 'nodejs_eventloop_utilization']) {
      expect(text).toMatch(new RegExp(`^${name} [0-9.e+]+$`, 'm'));
    }
    expect(metrics.contentType).toMatch(/^text\/plain; version=0\.0\.4/);
  });
});

describe('readings', () => {
  it('are taken when metrics are asked for', async () => {
    const metrics = createStill();
    let inFlight = 1;
    metrics.backend(CA);
    metrics.readFrom(() => ({ ...NOTHING_KNOWN, inFlight }));
    inFlight = 5;
    expect(await linesOf(metrics, 'mesh_ca_backend_calls_in_flight')).toEqual([
      `mesh_ca_backend_calls_in_flight${OF_CA} 5`,
    ]);
  });

  it('are seconds, Unix times and numbers for states', async () => {
    const metrics = createStill();
    metrics.backend(CA);
    metrics.readFrom(() => ALL_KNOWN);
    const now = NOW.getTime() / 1000;
    expect(await valuesOf(metrics)).toMatchObject({
      mesh_ca_backend_calls_in_flight: 2,
      mesh_ca_backend_calls_queued: 7,
      mesh_ca_backend_places: 16,
      mesh_ca_backend_breaker_state: 2,
      mesh_ca_backend_held_dataplanes: 12,
      mesh_ca_backend_credential_expiry_timestamp_seconds: now + 3600,
      mesh_ca_backend_proof_ok: 1,
      mesh_ca_backend_proof_timestamp_seconds: now - 90,
      mesh_ca_backend_proof_age_seconds: 90,
      mesh_ca_backend_proof_duration_seconds: 0.812,
      mesh_ca_backend_ca_expiry_timestamp_seconds: now + 86_400,
      mesh_ca_backend_root_expiry_timestamp_seconds: now + 864_000,
    });
  });

  it.each([
    ['closed', 0],
    ['half-open', 1],
    ['open', 2],
  ] as const)('tell a breaker that is %s as %i', async (breaker, value) => {
    const metrics = createStill();
    metrics.backend(CA);
    metrics.readFrom(() => ({ ...NOTHING_KNOWN, breaker }));
    expect((await valuesOf(metrics)).mesh_ca_backend_breaker_state).toBe(value);
  });

  it('that are not known have no series, and lose the one that they had', async () => {
    const metrics = createStill();
    metrics.backend(CA);
    let readings: BackendReadings | undefined = ALL_KNOWN;
    metrics.readFrom(() => readings);
    const gaugesOf = async () =>
      Object.keys(await valuesOf(metrics)).filter((name) => !/_(total|sum|count|bucket)$/.test(name));
    expect(await gaugesOf()).toHaveLength(12);
    readings = NOTHING_KNOWN;
    expect(await gaugesOf()).toEqual([
      'mesh_ca_backend_calls_in_flight',
      'mesh_ca_backend_calls_queued',
      'mesh_ca_backend_breaker_state',
      'mesh_ca_backend_held_dataplanes',
    ]);
    readings = undefined;
    expect(await gaugesOf()).toEqual([]);
  });

  it('tell a failed proof as 0, and one from a clock that is ahead as new', async () => {
    const metrics = createStill();
    metrics.backend(CA);
    const proof = { ok: false, provenAt: later(30), durationMs: 0, caExpiresAt: undefined, rootExpiresAt: undefined };
    metrics.readFrom(() => ({ ...NOTHING_KNOWN, proof }));
    expect(await valuesOf(metrics)).toMatchObject({
      mesh_ca_backend_proof_ok: 0,
      mesh_ca_backend_proof_age_seconds: 0,
    });
  });

  it('belong to the backend that they were asked of', async () => {
    const metrics = createStill();
    metrics.backend(CA);
    metrics.backend({ ...CA, mesh: 'other' });
    metrics.readFrom(({ mesh }) => ({ ...NOTHING_KNOWN, held: mesh === 'other' ? 3 : 0 }));
    expect(await linesOf(metrics, 'mesh_ca_backend_held_dataplanes')).toEqual([
      `mesh_ca_backend_held_dataplanes${OF_CA} 0`,
      'mesh_ca_backend_held_dataplanes{mesh="other",backend="ca-1",type="builtin"} 3',
    ]);
  });
});

describe('meshes', () => {
  const rotation = {
    state: 'switching',
    seen: { dataplanes: { online: 7, trustingNew: 6, usingNew: 5, usingOld: 2 }, blockers: 2 },
  };

  it('have the version of their bundle, and what their rotation saw last', async () => {
    const metrics = createMetrics();
    metrics.readMeshesFrom(() => [{ mesh: 'default', bundleVersion: 12, rotation }]);
    expect(await linesOf(metrics, 'mesh_ca_trust')).toEqual(['mesh_ca_trust_bundle_version{mesh="default"} 12']);
    expect(await linesOf(metrics, 'mesh_ca_rotation')).toEqual([
      'mesh_ca_rotation_state{mesh="default",state="switching"} 1',
      'mesh_ca_rotation_dataplanes{mesh="default",what="online"} 7',
      'mesh_ca_rotation_dataplanes{mesh="default",what="trusting_new"} 6',
      'mesh_ca_rotation_dataplanes{mesh="default",what="using_new"} 5',
      'mesh_ca_rotation_dataplanes{mesh="default",what="using_old"} 2',
      'mesh_ca_rotation_blockers{mesh="default"} 2',
    ]);
  });

  it('have no series of what is not known, and lose those that they had', async () => {
    const metrics = createMetrics();
    let readings: MeshReadings[] = [{ mesh: 'default', bundleVersion: 12, rotation }];
    metrics.readMeshesFrom(() => readings);
    expect(await linesOf(metrics, 'mesh_ca_rotation')).toHaveLength(6);
    readings = [{ mesh: 'default', rotation: { state: 'paused' } }];
    expect(await linesOf(metrics, 'mesh_ca_trust')).toEqual([]);
    expect(await linesOf(metrics, 'mesh_ca_rotation')).toEqual([
      'mesh_ca_rotation_state{mesh="default",state="paused"} 1',
    ]);
    readings = [];
    expect(await linesOf(metrics, 'mesh_ca_rotation')).toEqual([]);
  });

  it('over the cap have no series', async () => {
    const metrics = createMetrics();
    const readings = Array.from({ length: 2_010 }, (_, i) => ({ mesh: `m${i}`, bundleVersion: 1 }));
    metrics.readMeshesFrom(() => readings);
    expect(await linesOf(metrics, 'mesh_ca_trust_bundle_version')).toHaveLength(2_000);
  });
});

describe('the Secret Discovery Service', () => {
  it('has no series where it is switched off', async () => {
    expect(await linesOf(createMetrics(), 'mesh_ca_sds')).toEqual([]);
  });

  it('has all of them from the start where it is on, and counts what is sent and answered', async () => {
    const metrics = createMetrics();
    metrics.readSdsFrom(() => ({ streams: 4, dataplanes: 2 }));
    expect((await linesOf(metrics, 'mesh_ca_sds')).sort()).toEqual([
      'mesh_ca_sds_answers_total{kind="identity",result="ack"} 0',
      'mesh_ca_sds_answers_total{kind="identity",result="nack"} 0',
      'mesh_ca_sds_answers_total{kind="trust",result="ack"} 0',
      'mesh_ca_sds_answers_total{kind="trust",result="nack"} 0',
      'mesh_ca_sds_dataplanes 2',
      'mesh_ca_sds_responses_total{kind="identity"} 0',
      'mesh_ca_sds_responses_total{kind="trust"} 0',
      'mesh_ca_sds_streams 4',
    ]);
    metrics.sds.sent('trust');
    metrics.sds.sent('trust');
    metrics.sds.answered('trust', 'nack');
    const after = await linesOf(metrics, 'mesh_ca_sds');
    expect(after).toContain('mesh_ca_sds_responses_total{kind="trust"} 2');
    expect(after).toContain('mesh_ca_sds_answers_total{kind="trust",result="nack"} 1');
    expect(after).toContain('mesh_ca_sds_answers_total{kind="identity",result="nack"} 0');
  });
});
