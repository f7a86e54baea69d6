import { once } from 'node:events';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startTcpProxy, type TcpProxy, type TcpProxyOptions } from '../support/tcp-proxy.ts';

const QUIET_MS = 60;

/** A server that answers each chunk by the same in capitals, and its proxy. */
async function start(options?: TcpProxyOptions): Promise<TcpProxy> {
  const server = net.createServer((socket) => {
    socket.on('error', () => {}).on('data', (chunk) => socket.write(chunk.toString().toUpperCase()));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  const proxy = await startTcpProxy({ host: '127.0.0.1', port }, options);
  onTestFinished(async () => {
    await proxy.close();
    server.close();
  });
  return proxy;
}

interface Client {
  say(text: string): void;
  /** What came so far. */
  readonly heard: string;
  /** `open`, `ended` by the other side, or the code of an error. */
  readonly state: string;
}

async function connect({ host, port }: TcpProxy): Promise<Client> {
  const socket = net.connect(port, host);
  let heard = '';
  let state = 'open';
  socket.on('data', (chunk) => {
    heard += chunk.toString('latin1');
  });
  socket.on('end', () => {
    state = 'ended';
  });
  socket.on('error', (error: NodeJS.ErrnoException) => {
    state = error.code ?? 'error';
  });
  onTestFinished(() => void socket.destroy());
  await new Promise((resolve) => socket.once('connect', resolve).once('close', resolve));
  return {
    say: (text) => void socket.write(text),
    get heard() {
      return heard;
    },
    get state() {
      return state;
    },
  };
}

const settle = () => sleep(QUIET_MS);

describe('the TCP proxy', () => {
  it('forwards in both directions and counts', async () => {
    const seen: string[] = [];
    const proxy = await start({ observe: () => (chunk) => void seen.push(chunk.toString()) });
    const client = await connect(proxy);
    client.say('hello');
    await settle();
    expect([client.heard, client.state, seen]).toEqual(['HELLO', 'open', ['hello']]);
    expect(proxy.counters()).toEqual({ accepted: 1, open: 1, bytesFromClients: 5, bytesFromServer: 5 });
  });

  it('refuses: open connections are reset, new ones refused, and the port is the same again later', async () => {
    const proxy = await start();
    const before = await connect(proxy);
    before.say('a');
    await settle();
    await proxy.set({ kind: 'refuse' });
    const during = await connect(proxy);
    await settle();
    await proxy.set({ kind: 'forward' });
    const after = await connect(proxy);
    after.say('b');
    await settle();
    expect([before.state, during.state, after.heard]).toEqual(['ECONNRESET', 'ECONNREFUSED', 'B']);
  });

  it('half-open: what saw the fault hears nothing for ever and stays open, what comes later works', async () => {
    const proxy = await start();
    const before = await connect(proxy);
    await settle();
    await proxy.set({ kind: 'half-open' });
    const during = await connect(proxy);
    await proxy.set({ kind: 'forward' });
    const after = await connect(proxy);
    for (const client of [before, during, after]) client.say('a');
    await settle();
    expect([before, during, after].map(({ heard, state }) => [heard, state])).toEqual([
      ['', 'open'],
      ['', 'open'],
      ['A', 'open'],
    ]);
  });

  it('resets open connections at once and new ones at their first byte', async () => {
    const proxy = await start();
    const before = await connect(proxy);
    await settle();
    await proxy.set({ kind: 'reset' });
    const during = await connect(proxy);
    await settle();
    expect([before.state, during.state]).toEqual(['ECONNRESET', 'open']);
    during.say('a');
    await settle();
    expect(during.state).toBe('ECONNRESET');
  });

  it('slow: every chunk waits, none overtakes another', async () => {
    const proxy = await start();
    await proxy.set({ kind: 'slow', latencyMs: 30 });
    const client = await connect(proxy);
    for (const text of ['a', 'b', 'c']) {
      client.say(text);
      await sleep(2);
    }
    expect(client.heard).toBe('');
    await proxy.set({ kind: 'forward' });
    client.say('d');
    await sleep(300);
    expect(client.heard).toBe('ABCD');
  });

  it('answers by garbage, or by what it is told, without the server', async () => {
    const proxy = await start();
    await proxy.set({ kind: 'garbage' });
    const garbage = await connect(proxy);
    garbage.say('a');
    await settle();
    await proxy.set({ kind: 'answer', bytes: Buffer.from('page') });
    const page = await connect(proxy);
    page.say('a');
    await settle();
    expect([garbage.heard.length > 100, garbage.state]).toEqual([true, 'open']);
    expect([page.heard, page.state]).toEqual(['page', 'ended']);
    expect(proxy.counters().bytesFromServer).toBe(0);
  });

  const CUTS = [
    { ending: 'end', heard: 'HE', state: 'ended' },
    { ending: 'reset', heard: '', state: 'ECONNRESET' },
    { ending: 'stall', heard: 'HE', state: 'open' },
  ] as const;
  it.each(CUTS)('cuts an answer that the server has given, and then: $ending', async ({ ending, heard, state }) => {
    const proxy = await start();
    const bytes = heard.length;
    await proxy.set({ kind: 'cut', shorten: (answer) => answer.subarray(0, bytes), ending });
    const client = await connect(proxy);
    client.say('hello');
    await settle();
    expect([client.heard, client.state, proxy.counters().bytesFromServer]).toEqual([heard, state, 5]);
  });

  it('goes to another server from the next connection on', async () => {
    const [proxy, other] = await Promise.all([start(), start()]);
    proxy.setTarget(other);
    const client = await connect(proxy);
    client.say('a');
    await settle();
    expect([client.heard, other.counters().accepted]).toEqual(['A', 1]);
  });

  it('closes everything, dead connections too, and twice is once', async () => {
    const proxy = await start();
    const client = await connect(proxy);
    await settle();
    await proxy.set({ kind: 'half-open' });
    await Promise.all([proxy.close(), proxy.close()]);
    await settle();
    expect([client.state, proxy.counters().open, (await connect(proxy)).state]).toEqual([
      'ECONNRESET',
      0,
      'ECONNREFUSED',
    ]);
  });
});
