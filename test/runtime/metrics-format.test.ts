import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { createMetrics } from '../../src/runtime/metrics.ts';

interface Family {
  readonly help: string | undefined;
  readonly type: string | undefined;
  /** Names of samples with their labels. */
  readonly samples: readonly string[];
}

const TYPES = ['counter', 'gauge', 'histogram'];

/** Every series that there can be. */
async function readFamilies(): Promise<Map<string, Family>> {
  const now = new Date('2026-01-02T03:04:05Z');
  const metrics = createMetrics({ clock: { now: () => now } });
  const backend = metrics.backend({ mesh: 'm "quoted"\n', backend: 'back\\slash', type: 'vault' });
  backend.certificate('issued');
  backend.observe('sign', 'ok', 1);
  metrics.observeHttp('GET', '/meshes', 200, 1);
  metrics.readFrom(() => ({
    inFlight: 1,
    queued: 1,
    limit: 1,
    breaker: 'closed',
    held: 0,
    credentialExpiresAt: now,
    proof: { ok: true, provenAt: now, durationMs: 1, caExpiresAt: now, rootExpiresAt: now },
  }));
  const dataplanes = { online: 4, trustingNew: 3, usingNew: 2, usingOld: 1 };
  metrics.readMeshesFrom(() => [
    { mesh: 'm', bundleVersion: 3, rotation: { state: 'trusting', seen: { dataplanes, blockers: 1 } } },
  ]);
  metrics.readSdsFrom(() => ({ streams: 2, dataplanes: 1 }));
  const families = new Map<string, { help?: string; type?: string; samples: string[] }>();
  const familyOf = (name: string) => {
    const family = families.get(name) ?? { samples: [] };
    families.set(name, family);
    return family;
  };
  for (const line of (await metrics.text()).split('\n').filter(Boolean)) {
    const [, kind, name = '', text = ''] = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line) ?? [];
    if (kind === 'HELP') familyOf(name).help = text;
    else if (kind === 'TYPE') familyOf(name).type = text;
    else {
      const sample = line.split(/[{ ]/)[0] ?? '';
      const base = sample.replace(/_(bucket|sum|count)$/, '');
      familyOf(families.get(base)?.type === 'histogram' ? base : sample).samples.push(line);
    }
  }
  return new Map([...families].map(([name, { help, type, samples }]) => [name, { help, type, samples }]));
}

let families: ReadonlyMap<string, Family>;
beforeAll(async () => {
  families = await readFamilies();
});
const entries = () => [...families].filter(([name]) => name.startsWith('mesh_ca_'));

/** What `promtool check metrics` looks at. */
describe('the text of all metrics', () => {
  it('has help, a type and samples for each name', () => {
    expect(entries().length).toBeGreaterThan(15);
    for (const [name, { help, type, samples }] of families) {
      expect(name).toMatch(/^[a-z][a-z0-9_]*$/);
      expect(help, name).toMatch(/^[A-Z].*[^.]$/);
      expect(TYPES, name).toContain(type);
      expect(samples, name).not.toEqual([]);
    }
  });

  it('ends counters in _total, nothing else, and knows no unit but seconds and bytes', () => {
    for (const [name, { type }] of families) {
      expect(name.endsWith('_total'), name).toBe(type === 'counter');
      expect(name, name).not.toMatch(/_(ms|milliseconds|minutes|hours|days|count|sum|bucket|info)$/);
      if (/(duration|wait|age|expiry|timestamp|uptime)/.test(name)) expect(name).toMatch(/_seconds$/);
      if (/(expiry|timestamp)/.test(name)) expect(name).toMatch(/_timestamp_seconds$/);
    }
  });

  it('gives everything about a backend the same three labels first, escaped', () => {
    const labels = '{mesh="m \\"quoted\\"\\n",backend="back\\\\slash",type="vault"';
    for (const [name, { samples }] of entries()) {
      if (/^mesh_ca_(http|trust|rotation|sds)_/.test(name)) continue;
      for (const sample of samples) {
        const own = sample.includes('_bucket{') ? sample.replace(/\{le="[^"]+",/, '{') : sample;
        expect(own).toContain(labels);
      }
    }
  });

  it('names the mesh in everything about a mesh, and no data plane anywhere', () => {
    for (const [name, { samples }] of entries()) {
      for (const sample of samples) expect(sample, name).not.toContain('dataplane="');
      if (/^mesh_ca_(trust|rotation)_/.test(name))
        for (const sample of samples) expect(sample, name).toContain('{mesh="m"');
    }
  });

  it('is what docs/metrics.md tells', () => {
    const page = readFileSync(new URL('../../docs/metrics.md', import.meta.url), 'utf8');
    const rows = [...page.matchAll(/^\| `([a-z_]+)` +\| (\w+) +\|/gm)].map(([, name, type]) => [name, type]);
    const told = [...families].map(([name, { type }]) => [name, type]);
    expect(rows.sort()).toEqual(told.sort());
  });

  it('has every name that the alerts of docs/metrics.md ask for', () => {
    const page = readFileSync(new URL('../../docs/metrics.md', import.meta.url), 'utf8');
    const expressions = [...page.matchAll(/```promql\n([\s\S]*?)```/g)].map(([, text = '']) => text);
    expect(expressions.length).toBeGreaterThan(4);
    for (const expression of expressions) {
      for (const [name] of expression.matchAll(/mesh_ca_\w+/g)) {
        const family = families.get(name) ?? families.get(name.replace(/_(bucket|sum|count)$/, ''));
        expect(family?.type === 'histogram', name).toBe(/_(bucket|sum|count)$/.test(name));
        expect(family, name).toBeDefined();
      }
    }
  });
});
