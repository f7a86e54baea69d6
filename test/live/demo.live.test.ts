import { spawn } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stripVTControlCharacters } from 'node:util';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { findProcessesOfGroup } from '../support/process-group.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const DEMO_TIMEOUT_MS = 120_000;

interface RunningDemo {
  readonly pid: number;
  output(): string;
  /** Waits for a text in the output. */
  says(text: string): Promise<void>;
  /** Sends the signal to the demo and its children, as a terminal does, or to the demo alone. */
  signal(name: NodeJS.Signals, to: 'group' | 'demo'): void;
  readonly exitCode: Promise<number | null>;
  /** Processes and temporary folders that are still there, once the operating system had a moment. */
  leftovers(): Promise<string[]>;
}

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

/** The demo in a process group and a folder for temporary files of its own, so that whatever it leaves behind is found. */
async function startDemo(args: readonly string[] = [], env: NodeJS.ProcessEnv = {}): Promise<RunningDemo> {
  const temporary = await mkdtemp(join(tmpdir(), 'mesh-ca-test-'));
  const child = spawn(process.execPath, ['--import', 'tsx', 'demo/main.ts', ...args], {
    cwd: ROOT,
    env: { ...process.env, ...env, TMPDIR: temporary },
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const pid = child.pid ?? 0;
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  const exitCode = new Promise<number | null>((resolve) => child.once('close', resolve));
  cleanups.push(async () => {
    if ((await findProcessesOfGroup(pid)).length > 0) process.kill(-pid, 'SIGKILL');
    await rm(temporary, { recursive: true, force: true });
  });
  return {
    pid,
    output: () => output,
    says: (text) => vi.waitFor(() => expect(output).toContain(text), { timeout: DEMO_TIMEOUT_MS, interval: 20 }),
    signal: (name, to) => void process.kill(to === 'group' ? -pid : pid, name),
    exitCode,
    leftovers: async () => {
      const find = async () => [
        ...(await findProcessesOfGroup(pid)),
        ...(await readdir(temporary)).filter((name) => name.startsWith('mesh-ca')),
      ];
      await vi.waitFor(async () => expect(await find()).toEqual([]), { timeout: 3_000 }).catch(() => {});
      return find();
    },
  };
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
