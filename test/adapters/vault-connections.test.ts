import net from 'node:net';
import { createSecureContext } from 'node:tls';
import { describe, expect, it, onTestFinished } from 'vitest';
import { ANSWER_MAX_BYTES } from '../../adapters/shared/read-answer.ts';
import { createTransport, type Repeat, type Transport } from '../../adapters/vault/transport.ts';
import { createFakeClock, TEST_START } from '../conformance/issuer-deps.ts';

/** What a server does with one request. Default: it answers `{}`. */
type Act = (socket: net.Socket) => void;

const json = (text: string) =>
  `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${text.length}\r\n\r\n${text}`;
const answer: Act = (socket) => void socket.write(json('{}'));
const hang: Act = () => {};
const reset: Act = (socket) => void socket.resetAndDestroy();

/** A server that speaks as a test tells it, and a transport to it on a clock that the test turns. Both end with the test. */
async function startWorld({ tls = false }: { readonly tls?: boolean } = {}) {
  const sockets = new Set<net.Socket>();
  const world = { requests: 0, opened: 0, act: answer, open: () => sockets.size };
  const server = net.createServer((socket) => {
    world.opened += 1;
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    socket.on('error', () => {});
    if (tls) return;
    socket.on('data', () => {
      world.requests += 1;
      world.act(socket);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as net.AddressInfo;
  const clock = createFakeClock(TEST_START);
  const secureContext = createSecureContext();
  const transport = createTransport(tls, { secureContext, skipVerify: true, serverName: '' }, clock);
  onTestFinished(async () => {
    transport.close();
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  const send = (repeat: Repeat = 'always', signal = new AbortController().signal) =>
    transport.send({
      method: 'GET',
      uri: `${tls ? 'https' : 'http'}://127.0.0.1:${port}/`,
      headers: {},
      repeat,
      signal,
    });
  /** Opens so many connections and leaves them idle. */
  const openIdle = async (count: number) => {
    const waiting: net.Socket[] = [];
    world.act = (socket) => {
      waiting.push(socket);
      if (waiting.length === count) for (const one of waiting) answer(one);
    };
    await Promise.all(Array.from({ length: count }, () => send()));
    Object.assign(world, { act: answer, requests: 0, opened: 0 });
  };
  return Object.assign(world, { clock, transport: transport as Transport, send, openIdle });
}

describe('a connection to vault that breaks before the answer begins', () => {
  it.each([
    ['fresh', 'always', 2],
    ['fresh', 'unseen', 1],
    ['fresh', 'never', 1],
    ['idle', 'always', 2],
    ['idle', 'unseen', 2],
    ['idle', 'never', 1],
  ] as const)('%s, request that may be repeated "%s": it is made %i times', async (from, repeat, times) => {
    const world = await startWorld();
    if (from === 'idle') await world.openIdle(3);
    world.act = reset;
    await expect(world.send(repeat)).rejects.toMatchObject({ code: 'ECONNRESET' });
    expect([world.requests, world.transport.counts.repeated]).toEqual([times, times - 1]);
  });

  it('costs the caller nothing when the second goes through, which is never on another old connection', async () => {
    const world = await startWorld();
    await world.openIdle(8);
    let served = 0;
    world.act = (socket) => (++served <= 1 ? reset(socket) : answer(socket));
    await expect(world.send()).resolves.toMatchObject({ status: 200 });
    expect([world.requests, world.opened, world.transport.counts.droppedIdle]).toEqual([2, 1, 7]);
  });

  it('is not repeated once the caller has given up', async () => {
    const world = await startWorld();
    const caller = new AbortController();
    world.act = (socket) => {
      caller.abort(new Error('given up'));
      reset(socket);
    };
    await expect(world.send('always', caller.signal)).rejects.toThrow();
    expect(world.requests).toBe(1);
  });
});

describe('connections to vault that went dead without a word', () => {
  it('are not used again once a call on one of them has heard nothing for a second', async () => {
    const world = await startWorld();
    await world.openIdle(8);
    world.act = hang;
    const hanging = world.send().catch((error: unknown) => error);
    await expect.poll(() => world.requests).toBe(1);
    world.act = answer;
    world.clock.advance(900);
    await world.send();
    expect([world.opened, world.transport.counts.droppedIdle]).toEqual([0, 0]);
    world.clock.advance(200);
    await world.send();
    // The one that has just answered is known to live.
    expect([world.opened, world.transport.counts.droppedIdle]).toEqual([0, 6]);
    world.transport.close();
    expect(await hanging).toBeInstanceOf(Error);
  });

  it('are given up when a call on one of them was given up after a while', async () => {
    const world = await startWorld();
    await world.openIdle(4);
    world.act = hang;
    const caller = new AbortController();
    const hanging = world.send('always', caller.signal).catch((error: unknown) => error);
    await expect.poll(() => world.requests).toBe(1);
    world.clock.advance(500);
    caller.abort(new Error('given up'));
    expect(await hanging).toBeInstanceOf(Error);
    await expect.poll(() => world.transport.counts.droppedIdle).toBe(3);
    world.act = answer;
    await world.send();
    expect(world.opened).toBe(1);
  });

  it.each([
    ['always', 'is made anew on a fresh connection', 2],
    ['unseen', 'waits on', 1],
  ] as const)(
    'a lone call on one that was idle for a while, repeated "%s", %s after a second',
    async (repeat, _what, times) => {
      const world = await startWorld();
      await world.openIdle(1);
      world.clock.advance(60_000);
      world.act = hang;
      const call = world.send(repeat).catch((error: unknown) => error);
      await expect.poll(() => world.requests).toBe(1);
      world.act = answer;
      world.clock.advance(1_000);
      if (times === 2) expect(await call).toMatchObject({ status: 200 });
      world.transport.close();
      await call;
      expect([world.requests, world.clock.pending]).toEqual([times, 0]);
    },
  );

  it('are only slow when the first answer comes over them after all: for a minute nothing is asked twice', async () => {
    const world = await startWorld();
    const slow = async (repeated: number) => {
      await world.openIdle(1);
      world.clock.advance(10_000);
      const sockets: net.Socket[] = [];
      world.act = (socket) => void sockets.push(socket);
      const call = world.send();
      await expect.poll(() => sockets.length).toBe(1);
      world.clock.advance(1_500);
      await expect.poll(() => sockets.length).toBe(1 + repeated);
      for (const socket of sockets.slice(0, 1)) answer(socket);
      expect(await call).toMatchObject({ status: 200 });
      await expect.poll(world.open).toBe(1);
    };
    await slow(1);
    await slow(0);
    world.clock.advance(60_000);
    await slow(1);
    expect([world.transport.counts.repeated, world.clock.pending]).toEqual([2, 0]);
  });

  it('are not doubted while they are busy: a slow call is made once', async () => {
    const world = await startWorld();
    await world.openIdle(1);
    const sockets: net.Socket[] = [];
    world.act = (socket) => void sockets.push(socket);
    const call = world.send();
    await expect.poll(() => sockets.length).toBe(1);
    world.clock.advance(5_000);
    for (const socket of sockets) answer(socket);
    expect(await call).toMatchObject({ status: 200 });
    expect(world.requests).toBe(1);
  });

  it('stay when a slow call ends well', async () => {
    const world = await startWorld();
    await world.openIdle(4);
    const sockets: net.Socket[] = [];
    world.act = (socket) => void sockets.push(socket);
    const slow = world.send();
    await expect.poll(() => sockets.length).toBe(1);
    world.clock.advance(800);
    for (const socket of sockets) answer(socket);
    await slow;
    expect(world.transport.counts.droppedIdle).toBe(0);
  });
});

describe('opening a connection to vault', () => {
  it('has a time limit of its own, the TLS handshake included', async () => {
    const world = await startWorld({ tls: true });
    const call = world.send().catch((error: unknown) => error);
    await expect.poll(() => world.opened).toBe(1);
    expect(world.clock.pending).toBe(1);
    world.clock.advance(5_000);
    expect(await call).toMatchObject({ code: 'ETIMEDOUT' });
    expect([world.clock.pending, world.transport.counts.connectTimeouts]).toEqual([0, 1]);
  });

  it('leaves no timer behind when it succeeds', async () => {
    const world = await startWorld();
    await world.send();
    expect(world.clock.pending).toBe(0);
  });
});

const half = (text: string) => text.slice(0, text.length / 2);
const BROKEN_ANSWERS: readonly [string, Act, object][] = [
  ['that is no HTTP', (socket) => void socket.write(Buffer.alloc(512, 0x9e)), { code: expect.stringMatching(/^HPE_/) }],
  [
    'whose connection ends in the head',
    (socket) => void socket.end('HTTP/1.1 200 OK\r\ncont'),
    { code: expect.anything() },
  ],
  [
    'whose connection ends in the body',
    (socket) => void socket.end(half(json('{"data":{"a":"0123456789"}}'))),
    { code: expect.anything() },
  ],
  [
    'whose connection is reset in the body',
    (socket) => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{', () => socket.resetAndDestroy()),
    { code: expect.anything() },
  ],
  [
    'that never ends',
    (socket) => void socket.write(`HTTP/1.1 200 OK\r\n\r\n${'x'.repeat(ANSWER_MAX_BYTES + 1)}`),
    { code: 'RESPONSE_TOO_LARGE' },
  ],
  [
    'with endless headers',
    (socket) => void socket.write(`HTTP/1.1 200 OK\r\nx: ${'y'.repeat(100_000)}`),
    { code: 'HPE_HEADER_OVERFLOW' },
  ],
];

describe('an answer of vault', () => {
  it.each(BROKEN_ANSWERS)('%s fails at once, and is not asked for again', async (_what, act, error) => {
    const world = await startWorld();
    world.act = act;
    await expect(world.send('unseen')).rejects.toMatchObject(error);
    expect(world.requests).toBe(1);
    await expect.poll(world.open).toBe(0);
  });

  it('whose JSON is cut off comes as no JSON', async () => {
    const world = await startWorld();
    world.act = (socket) => void socket.write(json('{"data":{"certificate":"--'));
    expect(await world.send()).toMatchObject({ status: 200, body: undefined });
  });
});

describe('closing a transport', () => {
  it('that is retired lets calls under way finish, then leaves no socket', async () => {
    const world = await startWorld();
    await world.openIdle(3);
    const sockets: net.Socket[] = [];
    world.act = (socket) => void sockets.push(socket);
    const call = world.send();
    await expect.poll(() => sockets.length).toBe(1);
    world.transport.retire();
    for (const socket of sockets) answer(socket);
    await expect(call).resolves.toMatchObject({ status: 200 });
    await expect.poll(world.open).toBe(0);
    await expect(world.send()).rejects.toThrow(/closed/);
  });

  it('ends calls under way without repeating them', async () => {
    const world = await startWorld();
    world.act = hang;
    const calls = Array.from({ length: 5 }, () => world.send().catch((error: unknown) => error));
    await expect.poll(() => world.requests).toBe(5);
    world.transport.endCalls();
    for (const error of await Promise.all(calls)) expect(error).toMatchObject({ message: 'the connection is closed' });
    expect(world.requests).toBe(5);
  });
});
