import { afterEach, describe, expect, it } from 'vitest';
import { rotateUnchecked, rotateUnderLoad } from '../../../demo/rotation/scenario.ts';
import { showReport } from '../../../demo/rotation/show-report.ts';
import { type QuietDemo, startQuietDemo } from './quiet-demo.ts';

const TIMEOUT_MS = 120_000;

let quiet: QuietDemo | undefined;
afterEach(async ({ task }) => {
  if (task.result?.state === 'fail') process.stderr.write(`${quiet?.told()}\n`);
  await quiet?.close();
  quiet = undefined;
});

describe('real Envoys in mutual TLS with certificates by SDS, under constant load', { timeout: TIMEOUT_MS }, () => {
  it('lose no request while their CA is rotated three times, one of them lags, and mesh-ca is killed and started again', async () => {
    quiet = await startQuietDemo();
    const waited = new Set<string>();
    const report = await rotateUnderLoad({
      demo: quiet.demo,
      show: ({ state, blockers }) => {
        for (const { dataplane } of blockers) waited.add(`${state} ${dataplane}`);
      },
    });
    showReport({ heading: () => {}, plain: (text) => process.stdout.write(`${text}\n`) }, report);

    expect(report.load.reasons).toEqual([]);
    expect(report.load.failures).toBe(0);
    expect(report.load.requests).toBeGreaterThan(1_000);
    expect(report.restarts).toBe(3);
    expect(report.rotations.map(({ from, to }) => [from, to])).toEqual([
      ['ca-1', 'vault-1'],
      ['vault-1', 'own-1'],
      ['own-1', 'ca-2'],
    ]);
    for (const { load, certificates, seconds, waitedFor } of report.rotations) {
      expect(load.requests).toBeGreaterThan(100);
      expect(certificates).toBeGreaterThanOrEqual(4);
      expect(seconds.map(([state]) => state)).toEqual(expect.arrayContaining(['trusting', 'switching', 'removing']));
      expect(waitedFor).not.toBe('');
    }
    expect([...waited]).toEqual(expect.arrayContaining(['trusting laggard', 'switching laggard']));
  });

  it('lose requests when the same change is made without the validators', async () => {
    quiet = await startQuietDemo();
    const { load, recoveredAfterMs } = await rotateUnchecked(quiet.demo);
    expect(load.failures).toBeGreaterThan(0);
    expect(load.reasons.map(({ reason }) => reason).join('\n')).toMatch(/laggard.*TLS/);
    expect(recoveredAfterMs).toBeDefined();
  });
});
