import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { CertificateTally } from '../../../demo/rotation/certificate-tally.ts';
import { secondsPerState } from '../../../demo/rotation/follow.ts';
import { startFreezableProxy } from '../../../demo/rotation/freezable-proxy.ts';
import { createLiveScreen } from '../../../demo/rotation/live-line.ts';
import { LoadCounts } from '../../../demo/rotation/load-counts.ts';
import { statusText } from '../../../demo/rotation/show-report.ts';
import { createScreen } from '../../../demo/support/screen.ts';
import { rotationSchema } from '../../../src/cli/rotation-view.ts';
import { findFixedPort } from '../../../testcontainers/fixed-port.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

describe('the counts of a load', () => {
  it('are added up, with reasons by frequency', () => {
    const counts = new LoadCounts();
    for (let ms = 1; ms <= 100; ms += 1) counts.succeeded(ms);
    for (const reason of ['b', 'a', 'b']) counts.failed(reason);
    expect(counts.summary()).toEqual({
      requests: 103,
      failures: 3,
      reasons: [
        { reason: 'b', count: 2 },
        { reason: 'a', count: 1 },
      ],
      p50Ms: 50,
      p99Ms: 99,
    });
  });
});

describe('the tally of certificates', () => {
  it('adds processes that count anew, and backends that are gone', () => {
    const tally = new CertificateTally();
    const series = (backend: string, outcome: string, count: number) =>
      `mesh_ca_certificates_total{mesh="default",backend="${backend}",type="builtin",outcome="${outcome}"} ${count}\n`;
    tally.read(`# HELP x\n${series('ca-1', 'issued', 2)}${series('ca-1', 'kept', 40)}`);
    tally.read(series('ca-1', 'issued', 3));
    tally.read(series('ca-2', 'issued', 4));
    tally.nextLife();
    tally.read(series('ca-2', 'issued', 1));
    expect(tally.total).toBe(3 + 4 + 1);
  });
});

describe('the network that can be frozen', () => {
  it('holds what is sent in both directions while it is frozen, closes nothing, and passes it in order when it thaws', async () => {
    const echo = createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1');
    await once(echo, 'listening');
    cleanups.push(() => echo.close());
    const address = echo.address();
    const proxy = await startFreezableProxy(typeof address === 'object' ? (address?.port ?? 0) : 0);
    cleanups.push(proxy.close);

    const client = connect(proxy.port, '127.0.0.1');
    cleanups.push(() => client.destroy());
    let received = '';
    client.setEncoding('utf8').on('data', (text: string) => {
      received += text;
    });
    client.write('one ');
    await vi.waitFor(() => expect(received).toBe('one '));
    proxy.freeze();
    client.write('two ');
    client.write('three');
    await sleep(150);
    expect([received, client.readyState]).toEqual(['one ', 'open']);
    proxy.thaw();
    await vi.waitFor(() => expect(received).toBe('one two three'));
  });

  it('does not pass what comes on a connection that is made while it is frozen', async () => {
    let seen = 0;
    const server = createServer((socket) => {
      socket.on('data', (chunk) => {
        seen += chunk.length;
      });
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    cleanups.push(() => server.close());
    const address = server.address();
    const proxy = await startFreezableProxy(typeof address === 'object' ? (address?.port ?? 0) : 0);
    cleanups.push(proxy.close);
    proxy.freeze();
    const client = connect(proxy.port, '127.0.0.1');
    cleanups.push(() => client.destroy());
    client.write('hello');
    await sleep(150);
    expect(seen).toBe(0);
    proxy.thaw();
    await vi.waitFor(() => expect(seen).toBe(5));
  });
});

describe('a fixed port', () => {
  it('is free, and none that outgoing connections are given', async () => {
    const port = await findFixedPort();
    const server = createServer().listen(port, '127.0.0.1');
    await once(server, 'listening');
    server.close();
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    other.close();
    expect(port).toBeGreaterThanOrEqual(10_000);
    expect(port).toBeLessThan(65_536);
  });
});

describe('the words for a rotation', () => {
  const view = rotationSchema.parse({
    mesh: 'default',
    state: 'trusting',
    dataplanes: { total: 4, online: 4, trustingNew: 3, usingNew: 0, usingOld: 4 },
    blockers: [{ dataplane: 'laggard', zone: '', waitingFor: 'trust bundle 2 (has 1)' }],
    steps: [
      { state: 'trusting', at: '2026-11-21T10:00:00.000Z' },
      { state: 'switching', at: '2026-11-21T10:00:02.500Z' },
      { state: 'done', at: '2026-11-21T10:00:03.000Z' },
    ],
    finishedAt: '2026-11-21T10:00:03.000Z',
  });

  it('tell load, state, progress and who is waited for in one line', () => {
    const counts = new LoadCounts();
    counts.succeeded(1);
    expect(statusText(view, counts)).toBe('1 requests, 0 failed | trusting 3/4 trust the new CA, waits for laggard');
  });

  it('tell how long each state took', () => {
    expect(secondsPerState(view)).toEqual([
      ['trusting', 2.5],
      ['switching', 0.5],
    ]);
  });
});

describe('the last line of the screen', () => {
  function startScreen(isTTY: boolean) {
    let written = '';
    const stream = Object.assign(Object.create(process.stdout), {
      isTTY,
      columns: 20,
      write: (text: string) => {
        written += text;
        return true;
      },
    });
    const screen = createLiveScreen(createScreen(stream, stream, { NO_COLOR: '1' }), stream);
    return { screen, written: () => written };
  }

  it('stays below what is printed, is cut to the width, and goes away', () => {
    const { screen, written } = startScreen(true);
    screen.status('0123456789012345678901234567890');
    screen.plain('above');
    screen.clear();
    const line = '\r\x1b[2K0123456789012345678';
    expect(written()).toBe(`${line}\r\x1b[2Kabove\n${line}\r\x1b[2K`);
  });

  it('is not there where nobody looks', () => {
    const { screen, written } = startScreen(false);
    screen.status('how it stands');
    screen.plain('above');
    screen.clear();
    expect(written()).toBe('above\n');
  });
});
