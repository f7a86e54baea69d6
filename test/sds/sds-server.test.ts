import { status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { IssuerUnavailableError } from '../../src/issuer/errors.ts';
import { createFakeCa } from '../fakes/fake-issuer.ts';
import { node, type Received } from './sds-client.ts';
import { createSdsWorld, leafOf, rootsOf, type SdsWorld } from './sds-world.ts';

const WEB = { 'kuma.io/service': 'web' };
const NODE = node('default.web-1', WEB);
const IDENTITY = ['identity_cert'];
const TRUST = ['mesh_ca'];

let world: SdsWorld;
beforeEach(async () => {
  world = await createSdsWorld();
});
afterEach(() => world.close());

const serialOf = (response: Received | undefined) => leafOf(response?.secrets[0]).serialNumber;
const useOf = (serial: string, dataplane = 'web-1') => world.holders.useOf('default', dataplane, serial);
const trusted = async (dataplane = 'web-1') =>
  (await world.store.getTrustStatement('default', dataplane))?.bundleVersion;

describe.each(['sotw', 'delta'] as const)('a %s stream', (mode) => {
  it('gets the roots of its mesh, and a certificate with its key and the identity of its tags', async () => {
    const client = world.connect();
    const trust = await client.open({ mode, node: NODE, names: TRUST }).next();
    const identity = await client.open({ mode, node: NODE, names: IDENTITY }).next();
    expect(trust.names).toEqual(['mesh_ca']);
    expect(rootsOf(trust.secrets[0])).toHaveLength(1);
    expect(identity.names).toEqual(['identity_cert']);
    expect(leafOf(identity.secrets[0]).uriSans).toEqual(['spiffe://default/web', 'kuma://kuma.io/service/web']);
  });

  it('gets both, one after the other and trust first, when it asks for both', async () => {
    const stream = world.connect().open({ mode, node: NODE, names: ['identity_cert', 'mesh_ca'] });
    expect((await stream.next()).names).toEqual(['mesh_ca']);
    expect((await stream.next()).names).toEqual(['identity_cert']);
  });

  it('proves with its ACKs what it trusts and what it uses', async () => {
    const stream = world.connect().open({ mode, node: NODE, names: [...TRUST, ...IDENTITY], ack: false });
    const trust = await stream.next();
    await world.quiet();
    expect(await trusted()).toBeUndefined();
    stream.ack(trust);
    const identity = await stream.next();
    expect(await trusted()).toBe(1);
    expect(useOf(serialOf(identity))).toBe('pending');
    stream.ack(identity);
    await world.until(() => useOf(serialOf(identity)) === 'confirmed', 'use');
  });

  it('gets a new bundle at once, and no other certificate for it', async () => {
    const client = world.connect();
    const trust = client.open({ mode, node: NODE, names: TRUST });
    const identity = client.open({ mode, node: NODE, names: IDENTITY });
    await trust.next();
    await identity.next();
    await world.putMesh('ca-1', ['ca-1', 'ca-2']);
    expect(rootsOf((await trust.next()).secrets[0])).toHaveLength(2);
    await world.until(async () => (await trusted()) === 2, 'statement');
    await world.quiet();
    expect(identity.received).toHaveLength(1);
  });

  it('gets a certificate of the other backend once that is enabled', async () => {
    const stream = world.connect().open({ mode, node: NODE, names: IDENTITY });
    const first = await stream.next();
    await world.putMesh('ca-2', ['ca-1', 'ca-2']);
    const second = await stream.next();
    expect(serialOf(second)).not.toBe(serialOf(first));
    expect(leafOf(second.secrets[0]).issuer).not.toBe(leafOf(first.secrets[0]).issuer);
  });

  it('says what it holds when it comes back after a restart, and no certificate is made for it', async () => {
    const names = [...TRUST, ...IDENTITY];
    const before = world.connect().open({ mode, node: NODE, names });
    const [trust, identity] = [await before.next(), await before.next()];
    await world.until(() => useOf(serialOf(identity)) === 'confirmed', 'use');
    await world.restart();
    const holds = mode === 'sotw' ? identity.version : { mesh_ca: trust.version, identity_cert: identity.version };
    const after = world.connect().open({ mode, node: NODE, names, holds });
    await world.until(() => world.issued.length === 2, 'look at what it holds');
    await world.quiet();
    expect(world.issued).toEqual(['web-1 issued', 'web-1 kept']);
    expect(after.received).toEqual([]);
    expect(world.fake.signs).toBe(1);
    expect(useOf(serialOf(identity))).toBe('confirmed');
  });

  it('gets a new certificate after a restart when what it says it holds is not what it was answered last', async () => {
    const before = world.connect().open({ mode, node: NODE, names: IDENTITY });
    const first = await before.next();
    await world.restart();
    const lie = `c01${'ab'.repeat(15)}`;
    const holds = mode === 'sotw' ? lie : { identity_cert: lie };
    const second = await world.connect().open({ mode, node: NODE, names: IDENTITY, holds }).next();
    expect(serialOf(second)).not.toBe(serialOf(first));
  });

  it('gets the bundle when the version that it holds is of another store', async () => {
    const lie = `t1-${'0'.repeat(16)}`;
    const holds = mode === 'sotw' ? lie : { mesh_ca: lie };
    const stream = world.connect().open({ mode, node: NODE, names: TRUST, holds, ack: false });
    await stream.next();
    await world.quiet();
    expect(await trusted()).toBeUndefined();
  });

  it('is not sent again what it refused, until there is something newer', async () => {
    const stream = world.connect().open({ mode, node: NODE, names: TRUST, ack: false });
    stream.nack(await stream.next(), 'not\u0007 good\nat all');
    await world.until(() => world.holders.refusal('default', 'web-1') !== undefined, 'refusal');
    expect(world.holders.refusal('default', 'web-1')).toMatchObject({
      what: 'trust bundle',
      version: '1',
      message: 'not  good at all',
    });
    await world.quiet();
    expect(stream.received).toHaveLength(1);
    expect(await trusted()).toBeUndefined();
    await world.putMesh('ca-1', ['ca-1', 'ca-2']);
    stream.ack(await stream.next());
    await world.until(() => world.holders.refusal('default', 'web-1') === undefined, 'forgotten refusal');
    expect(await trusted()).toBe(2);
  });

  it('is quoted without a key that it may have been sent', async () => {
    const stream = world.connect().open({ mode, node: NODE, names: TRUST, ack: false });
    const key = '-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqG\n-----END PRIVATE KEY-----';
    stream.nack(await stream.next(), `cannot load ${key}`);
    await world.until(() => world.holders.refusal('default', 'web-1') !== undefined, 'refusal');
    expect(world.holders.refusal('default', 'web-1')?.message).toBe('cannot load [redacted]');
  });

  it('still trusts what it took before when it refuses what comes next', async () => {
    const stream = world.connect().open({ mode, node: NODE, names: TRUST, ack: false });
    stream.ack(await stream.next());
    await world.until(async () => (await trusted()) === 1, 'statement');
    await world.putMesh('ca-1', ['ca-1', 'ca-2']);
    stream.nack(await stream.next(), 'no');
    await world.until(() => world.holders.refusal('default', 'web-1') !== undefined, 'refusal');
    await world.quiet();
    expect(world.holders.refusal('default', 'web-1')).toMatchObject({ version: '2', message: 'no' });
    expect(await trusted()).toBe(1);
  });

  it('is sent once more, a minute later, what it refused, and then after four minutes', async () => {
    const stream = world.connect().open({ mode, node: NODE, names: IDENTITY, ack: false });
    const first = await stream.next();
    for (const [times, waitMs] of [60_000, 240_000].entries()) {
      stream.nack(first.nonce === '1' && times === 0 ? first : await stream.next(), 'no');
      await world.until(() => world.lines.filter(({ reason }) => reason === 'no').length === times + 1, 'refusal');
      await world.pass(waitMs - 1000);
      await world.quiet();
      expect(stream.received).toHaveLength(times + 1);
      await world.pass(1000);
      await world.until(() => stream.received.length === times + 2, 'another try');
    }
    expect(new Set(stream.received.map(serialOf)).size).toBe(1);
    expect(world.holders.refusal('default', 'web-1')).toMatchObject({ what: 'certificate', message: 'no' });
    expect(world.fake.signs).toBe(1);
  });
});

describe('a subscription', () => {
  it('that adds a name is answered for that name, even by an ACK', async () => {
    const stream = world.connect().open({ node: NODE, names: TRUST, ack: false });
    const trust = await stream.next();
    stream.send({ versionInfo: trust.version, resourceNames: [...TRUST, ...IDENTITY], responseNonce: trust.nonce });
    const identity = await stream.next();
    expect(identity.names).toEqual(['identity_cert']);
    expect(identity.version).toMatch(/^t1-[0-9a-f]{16}\+c[0-9a-f]+$/);
    expect(await trusted()).toBe(1);
  });

  it('that is made again on the same delta stream is answered though nothing has changed', async () => {
    const stream = world.connect().open({ mode: 'delta', node: NODE, names: TRUST });
    await stream.next();
    stream.send({ resourceNamesSubscribe: TRUST });
    expect((await stream.next()).names).toEqual(TRUST);
  });

  it('that was ended gets nothing more', async () => {
    const stream = world.connect().open({ mode: 'delta', node: NODE, names: TRUST });
    await stream.next();
    stream.send({ resourceNamesUnsubscribe: TRUST });
    await world.quiet();
    await world.putMesh('ca-1', ['ca-1', 'ca-2']);
    await world.quiet();
    expect(stream.received).toHaveLength(1);
  });

  it('to a name that is not served is told in the log, once', async () => {
    const stream = world.connect().open({ mode: 'delta', node: NODE, names: ['default'] });
    stream.send({ resourceNamesSubscribe: ['default', 'mesh_ca'] });
    await stream.next();
    const told = world.lines.filter(({ message }) => message.includes('name that is not served'));
    expect(told).toHaveLength(1);
    expect(told[0]).toMatchObject({ names: ['default'], served: ['mesh_ca', 'identity_cert'] });
  });
});

describe('the streams of one data plane', () => {
  it('share one certificate and key', async () => {
    const client = world.connect();
    const [one, other] = await Promise.all([1, 2].map(() => client.open({ node: NODE, names: IDENTITY }).next()));
    expect(serialOf(one)).toBe(serialOf(other));
    expect(world.fake.signs).toBe(1);
    expect(world.server.readings()).toEqual({ streams: 2, dataplanes: 1 });
  });

  it('trust a bundle, or use a certificate, only when all of them do', async () => {
    const client = world.connect();
    const quick = client.open({ node: NODE, names: [...TRUST, ...IDENTITY] });
    const slow = client.open({ node: NODE, names: TRUST, ack: false });
    const also = client.open({ node: NODE, names: IDENTITY, ack: false });
    const [, identity, trust, certificate] = [
      await quick.next(),
      await quick.next(),
      await slow.next(),
      await also.next(),
    ];
    await world.quiet();
    expect(useOf(serialOf(identity))).toBe('pending');
    slow.ack(trust);
    also.ack(certificate);
    await world.until(async () => (await trusted()) === 1 && useOf(serialOf(identity)) === 'confirmed', 'proof');
  });

  it('are one with a new key for a process that starts beside one from before a restart', async () => {
    const before = await world.connect().open({ node: NODE, names: IDENTITY }).next();
    await world.restart();
    const client = world.connect();
    const old = client.open({ node: NODE, names: IDENTITY, holds: before.version });
    await world.until(() => world.issued.includes('web-1 kept'), 'look at what it holds');
    const fresh = await client.open({ node: NODE, names: IDENTITY }).next();
    expect(serialOf(await old.next())).toBe(serialOf(fresh));
    expect(serialOf(fresh)).not.toBe(serialOf(before));
  });

  it('count as seen until the last one is over', async () => {
    const stream = world.connect().open({ node: NODE, names: TRUST });
    await stream.next();
    await world.oversleep(3_600_000);
    expect(world.lastSeen.get('default', 'web-1')).toEqual(world.clock.now());
    stream.cancel();
    await world.until(() => world.server.readings().streams === 0, 'end');
    const at = world.clock.now();
    await world.pass(60_000);
    expect(world.lastSeen.get('default', 'web-1')).toEqual(at);
    expect(world.server.readings()).toEqual({ streams: 0, dataplanes: 0 });
  });

  it('are at most 64', async () => {
    const client = world.connect();
    const streams = Array.from({ length: 64 }, () => client.open({ node: NODE, names: TRUST }));
    await Promise.all(streams.map((stream) => stream.next()));
    const ended = await client.open({ node: NODE, names: TRUST }).ended;
    expect(ended.code).toBe(status.RESOURCE_EXHAUSTED);
  });
});

describe('a certificate', () => {
  it('is renewed when it is due, and pushed', async () => {
    await world.putMesh('ca-2', ['ca-2']);
    const stream = world.connect().open({ node: NODE, names: IDENTITY });
    const first = await stream.next();
    await world.oversleep(12 * 3_600_000);
    await world.quiet();
    expect(stream.received).toHaveLength(1);
    await world.oversleep(8 * 3_600_000);
    expect(serialOf(await stream.next())).not.toBe(serialOf(first));
  });

  it('is tried again and again while its backend fails, with a pause that grows', async () => {
    world.fake.failure = new IssuerUnavailableError('is down');
    const stream = world.connect().open({ node: NODE, names: IDENTITY });
    const failures = () => world.lines.filter(({ message }) => message === 'SDS: no certificate for a data plane');
    await world.until(() => failures().length === 1, 'first failure');
    await world.pass(600_000);
    expect(failures().length).toBeGreaterThan(2);
    expect(failures().length).toBeLessThan(30);
    world.fake.failure = undefined;
    await world.pass(400_000);
    expect((await stream.next()).names).toEqual(IDENTITY);
  });

  it('that has expired is not sent to a stream that comes', async () => {
    const client = world.connect();
    await client.open({ node: NODE, names: IDENTITY }).next();
    world.fake.failure = new IssuerUnavailableError('is down');
    await world.oversleep(25 * 3_600_000);
    const late = client.open({ node: NODE, names: IDENTITY });
    await world.quiet();
    expect(late.received).toEqual([]);
  });

  it('whose root has left the bundle is not sent to a stream that comes', async () => {
    const client = world.connect();
    const first = await client.open({ node: NODE, names: IDENTITY }).next();
    await world.putMesh('ca-2', ['ca-2']);
    const second = await client.open({ node: NODE, names: IDENTITY }).next();
    expect(leafOf(second.secrets[0]).issuer).not.toBe(leafOf(first.secrets[0]).issuer);
  });

  it('comes after the bundle that it needs', async () => {
    const client = world.connect();
    const order: string[] = [];
    const trust = client.open({ node: NODE, names: TRUST });
    const identity = client.open({ node: NODE, names: IDENTITY });
    await trust.next();
    await identity.next();
    void trust.next().then(() => order.push('trust'));
    void identity.next().then(() => order.push('identity'));
    world.fake.ca = await createFakeCa('another root');
    await world.putMesh('ca-2', ['ca-1', 'ca-2']);
    await world.until(() => order.length === 2, 'both');
    expect(order).toEqual(['trust', 'identity']);
  });
});

describe('a data plane', () => {
  it('has the tags of its resource, whatever its proxy says, and a new certificate when they change', async () => {
    await world.putDataplane('web-1', { 'kuma.io/service': 'real' });
    const stream = world.connect().open({ node: NODE, names: IDENTITY });
    expect(leafOf((await stream.next()).secrets[0]).uriSans[0]).toBe('spiffe://default/real');
    await world.putDataplane('web-1', { 'kuma.io/service': 'renamed' });
    expect(leafOf((await stream.next()).secrets[0]).uriSans[0]).toBe('spiffe://default/renamed');
  });

  it('of a mesh that is deleted loses its streams', async () => {
    const stream = world.connect().open({ node: NODE, names: TRUST });
    await stream.next();
    await world.store.deleteMesh('default');
    expect((await stream.ended).code).toBe(status.NOT_FOUND);
  });

  it('may have dots in its name, and so may its mesh', async () => {
    await world.putMesh('ca-1', ['ca-1'], 'team.a');
    const client = world.connect();
    const one = await client.open({ node: node('team.a.web.1', WEB), names: IDENTITY }).next();
    const other = await client.open({ node: node('default.web.2', WEB), names: IDENTITY }).next();
    expect(leafOf(one.secrets[0]).uriSans[0]).toBe('spiffe://team.a/web');
    expect(leafOf(other.secrets[0]).uriSans[0]).toBe('spiffe://default/web');
    expect(world.issued).toEqual(['web.1 issued', 'web.2 issued']);
  });
});

describe('a request that is refused', () => {
  const cases: readonly { name: string; node: object | null; names?: readonly string[]; code: status; says: RegExp }[] =
    [
      { name: 'no node', node: null, code: status.INVALID_ARGUMENT, says: /names no node/ },
      { name: 'no dot', node: node('web-1'), code: status.INVALID_ARGUMENT, says: /--service-node MESH\.DATAPLANE/ },
      { name: 'a foreign text', node: node('de fault.web'), code: status.INVALID_ARGUMENT, says: /node\.id/ },
      { name: 'an unknown mesh', node: node('none.web-1', WEB), code: status.NOT_FOUND, says: /no mesh "none"/ },
      { name: 'no tags', node: node('default.web-1'), code: status.NOT_FOUND, says: /node\.metadata\.tags/ },
      {
        name: 'tags that are none',
        node: node('default.web-1', { 'kuma.io/service': 'a b' }),
        code: status.INVALID_ARGUMENT,
        says: /node\.metadata\.tags not accepted: tags\["kuma\.io\/service"\]/,
      },
      { name: 'a long name', node: NODE, names: ['x'.repeat(300)], code: status.INVALID_ARGUMENT, says: /253/ },
      {
        name: 'too many names',
        node: NODE,
        names: Array.from({ length: 65 }, (_, i) => `n${i}`),
        code: status.INVALID_ARGUMENT,
        says: /more than 64/,
      },
    ];
  for (const { name, node: who, names = IDENTITY, code, says } of cases) {
    it(`because of ${name} ends the stream with words`, async () => {
      const ended = await world.connect().open({ node: who, names }).ended;
      expect(ended.code).toBe(code);
      expect(ended.details).toMatch(says);
      await world.until(() => world.server.readings().streams === 0, 'end');
    });
  }

  it('because it is too large ends the stream', async () => {
    const big = { id: 'default.web-1', cluster: 'x'.repeat(600_000) };
    expect((await world.connect().open({ node: big }).ended).code).toBe(status.RESOURCE_EXHAUSTED);
  });

  it('because it asks for something else ends the stream', async () => {
    const stream = world.connect().open({ node: NODE, names: TRUST });
    await stream.next();
    stream.send({ typeUrl: 'type.googleapis.com/envoy.config.cluster.v3.Cluster' });
    expect((await stream.ended).code).toBe(status.INVALID_ARGUMENT);
  });

  it('because it never comes ends the stream', async () => {
    const stream = world.connect().open({ node: null, names: [] });
    expect((await stream.ended).code).toBe(status.INVALID_ARGUMENT);
  });
});

describe('close', () => {
  it('ends every stream with UNAVAILABLE and leaves nothing', async () => {
    const client = world.connect();
    const streams = ['a', 'b'].map((name) => client.open({ node: node(`default.${name}`, WEB), names: IDENTITY }));
    await Promise.all(streams.map((stream) => stream.next()));
    const idle = world.clock.pending;
    expect(idle).toBeGreaterThan(0);
    await world.server.close(1000);
    for (const { ended } of streams) expect((await ended).code).toBe(status.UNAVAILABLE);
    expect(world.server.readings()).toEqual({ streams: 0, dataplanes: 0 });
    expect(world.clock.pending).toBeLessThan(idle);
  });

  it('cuts off who does not go', async () => {
    const stream = world.connect().open({ node: NODE, names: IDENTITY });
    await stream.next();
    await Promise.all([world.server.close(0), world.pass(10)]);
    expect((await stream.ended).code).toBe(status.UNAVAILABLE);
  });
});
