import { execFile } from 'node:child_process';
import { readdir, readFile, stat } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ServeProcess, startServe } from '../support/serve-process.ts';
import { makeTempDir, type TempDir } from '../support/temp-dir.ts';

const PROGRAM = fileURLToPath(new URL('../../bin/mesh-ca', import.meta.url));
const RSA_MESH = {
  type: 'Mesh',
  name: 'default',
  mtls: { enabledBackend: 'ca-1', backends: [{ name: 'ca-1', type: 'builtin' }] },
};

let dir: TempDir;
const running: ServeProcess[] = [];
beforeEach(async () => {
  dir = await makeTempDir();
});
afterEach(async () => {
  for (const { child } of running.splice(0)) child.kill('SIGKILL');
  await dir.remove();
});

async function serve(...flags: string[]): Promise<ServeProcess> {
  const started = await startServe(['--data-dir', dir.path, ...flags]);
  running.push(started);
  return started;
}

async function send(address: string, method: string, path: string, body: unknown): Promise<Response> {
  return fetch(`${address}${path}`, {
    method,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
}

function run(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [PROGRAM, ...args], { env: { ...process.env, ...env } }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

describe('mesh-ca serve', () => {
  it('keeps what it knows over a restart, and stops cleanly on SIGTERM', async () => {
    const first = await serve();
    await send(first.address, 'PUT', '/meshes/default', RSA_MESH);
    const before = await (await fetch(`${first.address}/meshes/default/_trust-bundle`)).text();
    expect(await first.end('SIGTERM')).toEqual({ code: 0, signal: null });
    const second = await serve();
    expect(await (await fetch(`${second.address}/meshes/default/_trust-bundle`)).text()).toBe(before);
    expect(await second.end('SIGTERM')).toEqual({ code: 0, signal: null });
  });

  it('finishes an answer that is under way when SIGTERM comes', async () => {
    const { address, end } = await serve();
    await send(address, 'PUT', '/meshes/default', { type: 'Mesh', name: 'default' });
    const { hostname, port } = new URL(address);
    // The head is sent, the body comes only after the signal: the request is under way all the while.
    const body = JSON.stringify(RSA_MESH);
    const answer = new Promise<number>((resolve, reject) => {
      const sent = request({
        hostname,
        port,
        method: 'PUT',
        path: '/meshes/default',
        headers: { 'content-type': 'application/json', 'content-length': body.length },
      });
      sent.on('response', (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      });
      sent.on('error', reject);
      sent.write(body.slice(0, 10), async () => {
        await fetch(`${address}/healthz`);
        const ended = end('SIGTERM');
        await waitUntilRefused(address);
        sent.end(body.slice(10));
        resolveEnded(ended);
      });
    });
    let resolveEnded: (ended: ReturnType<ServeProcess['end']>) => void = () => {};
    const ended = new Promise<Awaited<ReturnType<ServeProcess['end']>>>((resolve) => {
      resolveEnded = (value) => void value.then(resolve);
    });
    expect(await answer).toBe(200);
    expect(await ended).toEqual({ code: 0, signal: null });
  });

  it('resets no request of callers that keep asking over kept connections while it stops', async () => {
    const { address, end } = await serve();
    await send(address, 'PUT', '/meshes/default', {
      ...RSA_MESH,
      mtls: {
        enabledBackend: 'ca',
        backends: [{ name: 'ca', type: 'builtin', conf: { caCert: { keyType: 'EC-P256' } } }],
      },
    });
    const agent = new Agent({ keepAlive: true });
    const ends: string[] = [];
    let answers = 0;
    const ask = (name: string) =>
      new Promise<void>((resolve, reject) => {
        const sent = request(`${address}/meshes/default/dataplanes/${name}/_certificate`, {
          agent,
          method: 'POST',
          headers: { 'content-type': 'application/json' },
        });
        sent.on('response', (response) => {
          answers += 1;
          response.resume().on('end', resolve).on('error', reject);
        });
        sent.on('error', reject);
        sent.end(JSON.stringify({ tags: { 'kuma.io/service': 'web' } }));
      });
    const callers = Array.from({ length: 20 }, async (_, index) => {
      try {
        for (;;) await ask(`dp-${index}`);
      } catch (error) {
        ends.push(error instanceof Error && 'code' in error ? String(error.code) : String(error));
      }
    });
    while (answers < 100) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(await end('SIGTERM')).toEqual({ code: 0, signal: null });
    await Promise.all(callers);
    agent.destroy();
    expect(new Set(ends)).toEqual(new Set(['ECONNREFUSED']));
  });

  it('makes one CA when two instances over one database are asked at once', async () => {
    const [a, b] = await Promise.all([serve(), serve()]);
    const puts = await Promise.all(
      [a, b, a, b].map(({ address }) => send(address, 'PUT', '/meshes/default', RSA_MESH)),
    );
    expect(puts.map(({ status }) => status).every((status) => status === 200 || status === 201)).toBe(true);
    const bundles = await Promise.all(
      [a, b].map(async ({ address }) => (await fetch(`${address}/meshes/default/_trust-bundle`)).text()),
    );
    expect(bundles[0]).toBe(bundles[1]);
    expect(bundles[0]?.match(/BEGIN/g)).toHaveLength(1);
  });

  it('never issues under the CA of a mesh that another instance has deleted and made again', async () => {
    const [a, b] = await Promise.all([serve(), serve()]);
    const mesh = {
      ...RSA_MESH,
      mtls: {
        enabledBackend: 'ca',
        backends: [{ name: 'ca', type: 'builtin', conf: { caCert: { keyType: 'EC-P256' } } }],
      },
    };
    const ask = async (address: string, name: string) => {
      const body = { tags: { 'kuma.io/service': 'web' } };
      const answer = await send(address, 'POST', `/meshes/default/dataplanes/${name}/_certificate`, body);
      return (await answer.json()) as { outcome: string; trustBundle: { pem: string } };
    };
    await send(a.address, 'PUT', '/meshes/default', mesh);
    const before = await ask(b.address, 'web-1');
    await fetch(`${a.address}/meshes/default`, { method: 'DELETE' });
    await send(a.address, 'PUT', '/meshes/default', mesh);
    const after = await ask(b.address, 'web-2');
    expect([after.outcome, after.trustBundle.pem === before.trustBundle.pem]).toEqual(['issued', false]);
    const { trustBundle } = await ask(a.address, 'web-3');
    expect(after.trustBundle.pem).toBe(trustBundle.pem);
  });

  it('keeps private things private on disk: modes 0600 and 0700, no key in the clear', async () => {
    const { address, end } = await serve();
    await send(address, 'PUT', '/meshes/default', RSA_MESH);
    const { data } = (await (await fetch(`${address}/meshes/default/secrets/default.ca-builtin-key-ca-1`)).json()) as {
      data: string;
    };
    await end('SIGTERM');
    for (const name of await readdir(dir.path)) {
      const path = join(dir.path, name);
      expect([name, (await stat(path)).mode & 0o077]).toEqual([name, 0]);
      const content = (await readFile(path)).toString('latin1');
      expect(content).not.toContain('PRIVATE KEY');
      expect(content).not.toContain(data.slice(0, 60));
    }
  });

  it('refuses a wrong configuration with every mistake at once, exit code 5', async () => {
    const { code, stderr } = await run(['serve', '--api-port', '99999', '--log-level', 'loud'], {
      MESH_CA_LOCALHOST_IS_ADMIN: 'maybe',
      MESH_CA_TYPO: '1',
    });
    expect(code).toBe(5);
    for (const part of [
      '--api-port',
      '99999',
      '--log-level',
      'loud',
      'MESH_CA_LOCALHOST_IS_ADMIN',
      'maybe',
      'MESH_CA_TYPO',
    ]) {
      expect(stderr).toContain(part);
    }
    expect(stderr).not.toMatch(/\bat .*:\d+:\d+/);
  });

  it('says what to do when one of its ports is taken', async () => {
    const first = await serve();
    const sdsPort = /"sds":"127\.0\.0\.1:(\d+)"/.exec(first.output())?.[1] ?? '';
    const cases = [
      { ports: ['--api-port', new URL(first.address).port, '--sds-port', '0'], flag: '--api-port PORT' },
      { ports: ['--api-port', '0', '--sds-port', sdsPort], flag: '--sds-port PORT, or --sds-port off' },
    ];
    for (const { ports, flag } of cases) {
      const { code, stderr } = await run(['serve', '--data-dir', join(dir.path, 'other'), ...ports]);
      expect(code).toBe(5);
      expect(stderr).toMatch(/EADDRINUSE/);
      expect(stderr).toContain(flag);
      expect(stderr).not.toMatch(/\bat .*:\d+:\d+/);
    }
  });

  it('opens no port for SDS when that is off', async () => {
    const { output } = await serve('--sds-port', 'off');
    expect(output()).toMatch(/"addresses":\{"api":"[^"]+"\}/);
  });
});

async function waitUntilRefused(address: string): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt += 1) {
    try {
      await fetch(`${address}/healthz`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    } catch {
      return;
    }
  }
  throw new Error('mesh-ca still takes connections after SIGTERM');
}
