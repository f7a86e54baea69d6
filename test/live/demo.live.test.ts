import { stripVTControlCharacters } from 'node:util';
import { afterEach, describe, expect, it } from 'vitest';
import { type RunningDemo, runDemo } from '../support/run-demo.ts';

const DEMO_TIMEOUT_MS = 120_000;

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

async function startDemo(args: readonly string[] = [], env: NodeJS.ProcessEnv = {}): Promise<RunningDemo> {
  const demo = await runDemo({ program: 'demo/main.ts', args, env, timeoutMs: DEMO_TIMEOUT_MS });
  cleanups.push(demo.cleanUp);
  return demo;
}

describe('npm run demo', { timeout: DEMO_TIMEOUT_MS }, () => {
  it('ends well, tells of every mesh, and leaves no process and no folder behind', async () => {
    const demo = await startDemo();
    expect([await demo.exitCode, demo.output().trimEnd().split('\n').at(-1)]).toEqual([0, 'demo: ok']);
    for (const told of [
      'mutual TLS in payments: spiffe://payments/checkout -> spiffe://payments/ledger: 200',
      'mutual TLS in default: spiffe://default/web_front -> spiffe://default/backend: 200',
      'mutual TLS in shop: spiffe://shop/cart -> spiffe://shop/stock: 200',
      'a certificate of mesh payments is refused there',
      'web-front.mesh',
      'two test proxies with it talked to each other over TLS 1.3',
      'SUPPORTED CERT BACKENDS',
    ]) {
      expect(demo.output()).toContain(told);
    }
    expect(demo.output()).not.toMatch(/PRIVATE KEY|\b(?:hv)?s\.[A-Za-z0-9_-]{20,}/);
    expect(demo.output()).toBe(stripVTControlCharacters(demo.output()));
    expect(await demo.leftovers()).toEqual([]);
  });

  it('stays up with --keep, answers, and ends well at Ctrl-C', async () => {
    const demo = await startDemo(['--keep']);
    await demo.says('Ctrl-C ends the demo');
    const address = /export MESH_CA_ADDRESS=(\S+)/.exec(demo.output())?.[1];
    const meshes: unknown = await (await fetch(`${address}/meshes`)).json();
    expect(meshes).toMatchObject({ total: 3 });
    demo.signal('SIGINT', 'group');
    expect([await demo.exitCode, demo.output().trimEnd().split('\n').at(-1)]).toEqual([0, 'demo: ok']);
    expect(await demo.leftovers()).toEqual([]);
  });

  const early: readonly { name: string; after: string; signal: NodeJS.Signals; to: 'group' | 'demo'; code: number }[] =
    [
      { name: 'Ctrl-C while Vault starts', after: 'three meshes', signal: 'SIGINT', to: 'group', code: 130 },
      { name: 'Ctrl-C while mesh-ca starts', after: '$ mesh-ca serve', signal: 'SIGINT', to: 'group', code: 130 },
      {
        name: 'Ctrl-C while meshes are applied',
        after: 'mesh/payments created',
        signal: 'SIGINT',
        to: 'group',
        code: 130,
      },
      { name: 'SIGTERM to the demo alone', after: 'mesh/payments created', signal: 'SIGTERM', to: 'demo', code: 143 },
    ];
  for (const { name, after, signal, to, code } of early) {
    it(`leaves nothing behind at ${name}`, async () => {
      const demo = await startDemo();
      await demo.says(after);
      demo.signal(signal, to);
      expect([await demo.exitCode, demo.output()]).toEqual([code, expect.stringContaining(`stopped by ${signal}`)]);
      expect(demo.output()).not.toContain('demo: ok');
      expect(await demo.leftovers()).toEqual([]);
    });
  }

  it('says what is missing, and leaves nothing behind, where openssl is not installed', async () => {
    const demo = await startDemo([], { PATH: '/nowhere' });
    expect(await demo.exitCode).toBe(1);
    expect(demo.output()).toContain('there is no program openssl on PATH');
    expect(demo.output()).not.toContain('demo: ok');
    expect(await demo.leftovers()).toEqual([]);
  });

  it('refuses a flag that it does not know before anything is started', async () => {
    const demo = await startDemo(['--kep']);
    expect(await demo.exitCode).toBe(1);
    expect(demo.output()).toContain("Unknown option '--kep'");
    expect(await demo.leftovers()).toEqual([]);
  });
});
