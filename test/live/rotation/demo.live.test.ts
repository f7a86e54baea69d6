import { afterEach, describe, expect, it } from 'vitest';
import { type RunningDemo, runDemo } from '../../support/run-demo.ts';

const DEMO_TIMEOUT_MS = 60_000;

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

async function startDemo(args: readonly string[] = []): Promise<RunningDemo> {
  const demo = await runDemo({ program: 'demo/rotation/main.ts', args, timeoutMs: DEMO_TIMEOUT_MS });
  cleanups.push(demo.cleanUp);
  return demo;
}

// That it ends well is what rotation.live.test.ts sees: it runs the same.
describe('npm run demo:rotation', { timeout: DEMO_TIMEOUT_MS }, () => {
  const early = [
    { name: 'while servers start', after: '$ mesh-ca serve' },
    { name: 'while a rotation waits', after: 'whose network stands still' },
  ] as const;
  for (const { name, after } of early) {
    it(`leaves nothing behind at Ctrl-C ${name}`, async () => {
      const demo = await startDemo();
      await demo.says(after);
      demo.signal('SIGINT', 'group');
      expect([await demo.exitCode, demo.output()]).toEqual([130, expect.stringContaining('stopped by SIGINT')]);
      expect(demo.output()).not.toContain('demo: ok');
      expect(await demo.leftovers()).toEqual([]);
    });
  }

  it('shows with --unchecked what happens without validators, and ends with exit code 1', async () => {
    const demo = await startDemo(['--unchecked']);
    expect([await demo.exitCode, demo.output()]).toEqual([1, expect.stringMatching(/[1-9]\d* of \d+ requests failed/)]);
    expect(demo.output()).toContain('times: ');
    expect(demo.output()).not.toMatch(/PRIVATE KEY|\b(?:hv)?s\.[A-Za-z0-9_-]{20,}|eyJ[\w-]{20,}/);
    expect(await demo.leftovers()).toEqual([]);
  });

  it('refuses a flag that it does not know before anything is started', async () => {
    const demo = await startDemo(['--quick']);
    expect(await demo.exitCode).toBe(1);
    expect(demo.output()).toContain("Unknown option '--quick'");
    expect(await demo.leftovers()).toEqual([]);
  });
});
