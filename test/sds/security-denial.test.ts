import { connect as connectHttp2 } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SECRET_SERVICE } from '../../src/sds/protocol.ts';
import { createFakeClock } from '../conformance/issuer-deps.ts';
import { passTime } from '../support/pass-time.ts';
import { node } from './sds-client.ts';
import { createSdsWorld, type SdsWorld } from './sds-world.ts';

const IDENTITY = ['identity_cert'];
const NODE = node('default.web-1', { 'kuma.io/service': 'web' });

let world: SdsWorld;
beforeEach(async () => {
  world = await createSdsWorld();
});
afterEach(() => world.close());

describe('a proxy that starts again and again', () => {
  it('has a backend make ten certificates at once, and then one in ten seconds', async () => {
    for (let i = 0; i < 10; i += 1) {
      const stream = world.connect().open({ node: NODE, names: IDENTITY });
      await stream.next();
      stream.cancel();
      await world.disconnect();
    }
    const late = world.connect().open({ node: NODE, names: IDENTITY });
    await world.until(() => world.lines.some(({ code }) => code === 'ERR_ISSUER_RATE_LIMITED'), 'limit');
    for (let i = 0; i < 5; i += 1) world.connect().open({ node: NODE, names: IDENTITY });
    await world.quiet();
    expect(world.fake.signs).toBe(10);
    await world.pass(15_000);
    await late.next();
    expect(world.fake.signs).toBe(11);
  });
});

describe('a proxy that refuses and subscribes anew, again and again', () => {
  it('has nothing made, and fills no log', async () => {
    const stream = world.connect().open({ mode: 'delta', node: NODE, names: IDENTITY, ack: false });
    for (let i = 0; i < 50; i += 1) {
      stream.nack(await stream.next(), `no ${i}`);
      stream.send({ resourceNamesUnsubscribe: IDENTITY, resourceNamesSubscribe: IDENTITY });
    }
    const last = await stream.next();
    expect(world.fake.signs).toBe(1);
    expect(world.holders.refusal('default', 'web-1')?.message).toMatch(/^no \d+$/);
    const told = () => world.lines.filter(({ message }) => message.includes('refused by a proxy'));
    expect(told()).toHaveLength(1);
    await world.oversleep(1_000);
    stream.nack(last, 'still no');
    await world.until(() => told().length === 2, 'told');
    expect(told()[1]).toMatchObject({ reason: 'still no' });
  });
});

/** Time of the transport, which the test turns. */
const transport = createFakeClock(new Date());

describe('a connection', () => {
  beforeEach(async () => {
    await world.close();
    world = await createSdsWorld({}, transport);
  });

  /** Sends what it is given, and then never anything, nor does it close when the other side does. */
  function open(bytes: string): Promise<Socket> {
    return new Promise((resolve) => {
      const socket = connect({ port: world.port, host: '127.0.0.1', allowHalfOpen: true }, () => {
        socket.write(bytes, () => resolve(socket));
      });
      socket.on('error', () => {});
      socket.resume();
    });
  }
  /** Not only ended: what is sent after that is answered by a reset. */
  const isCut = async (socket: Socket) => {
    await world.until(() => socket.readableEnded, 'end');
    await world.until(() => socket.closed || !socket.write('x'), 'reset');
  };

  for (const [name, bytes] of [
    ['that says nothing', ''],
    ['that stops in the middle of the preface', 'PRI * HTTP/2.0\r\n'],
    ['that opens no stream', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0'],
  ] as const) {
    it(`${name} is cut off`, async () => {
      const socket = await open(bytes);
      await world.quiet();
      await passTime(transport, 50_000);
      expect(socket.readableEnded).toBe(false);
      await passTime(transport, 20_000);
      await isCut(socket);
    });
  }

  it('whose client takes nothing is cut off when one of its streams was told its end', async () => {
    const session = connectHttp2(`http://127.0.0.1:${world.port}`, { settings: { initialWindowSize: 0 } });
    session.on('error', () => {});
    const cut = new Promise((resolve) => session.once('close', resolve));
    const headers = {
      ':method': 'POST',
      ':path': SECRET_SERVICE.StreamSecrets.path,
      'content-type': 'application/grpc',
    };
    const stream = session.request({ ...headers, te: 'trailers' });
    stream.on('error', () => {});
    const send = (request: object) => {
      const message = SECRET_SERVICE.StreamSecrets.requestSerialize(request);
      const length = Buffer.alloc(5);
      length.writeUInt32BE(message.length, 1);
      stream.write(Buffer.concat([length, message]));
    };
    send({ node: NODE, resourceNames: ['mesh_ca'] });
    await world.until(() => world.server.readings().dataplanes === 1, 'stream');
    await passTime(transport, 80_000);
    expect(world.server.readings()).toEqual({ streams: 1, dataplanes: 1 });
    send({ typeUrl: 'something else' });
    await world.until(() => world.server.readings().dataplanes === 0, 'end');
    await passTime(transport, 20_000);
    await cut;
    await world.until(() => world.server.readings().streams === 0, 'no stream');
  });

  it('with a stream that has proven who it is stays', async () => {
    const stream = world.connect().open({ node: NODE, names: IDENTITY });
    await stream.next();
    await passTime(transport, 80_000);
    await world.quiet();
    expect(world.server.readings()).toEqual({ streams: 1, dataplanes: 1 });
    stream.cancel();
  });
});
