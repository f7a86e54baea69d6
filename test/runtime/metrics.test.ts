import { describe, expect, it } from 'vitest';
import { createMetrics } from '../../src/runtime/metrics.ts';

const CA = { mesh: 'default', backend: 'ca-1', type: 'builtin' };

/** Lines of one metric, without help, type and buckets. */
async function linesOf(metrics: ReturnType<typeof createMetrics>, name: string): Promise<string[]> {
  const lines = (await metrics.text()).split('\n');
  return lines.filter((line) => line.startsWith(name) && !line.includes('_bucket'));
}

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

  it('read the load of a backend when they are asked for', async () => {
    const metrics = createMetrics();
    let queued = 1;
    metrics.backend(CA).watchLoad(() => ({ inFlight: 2, queued }));
    queued = 7;
    expect(await linesOf(metrics, 'mesh_ca_backend_calls_')).toEqual([
      'mesh_ca_backend_calls_in_flight{mesh="default",backend="ca-1",type="builtin"} 2',
      'mesh_ca_backend_calls_queued{mesh="default",backend="ca-1",type="builtin"} 7',
    ]);
  });

  it('give the same handle for the same backend, and forget one that is gone', async () => {
    const metrics = createMetrics();
    expect(metrics.backend({ ...CA })).toBe(metrics.backend(CA));
    const other = metrics.backend({ ...CA, backend: 'ca-2' });
    for (const backend of [metrics.backend(CA), other]) {
      backend.certificate('issued');
      backend.observe('sign', 'ok', 1);
    }
    await metrics.text();
    metrics.removeBackend(CA);
    const text = await metrics.text();
    expect(text).not.toContain('backend="ca-1"');
    expect(text).toContain('backend="ca-2"');
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
