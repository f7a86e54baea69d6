import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { IssuerUnavailableError } from '../../src/issuer/errors.ts';
import { node } from './sds-client.ts';
import { createSdsWorld, leafOf, type SdsWorld } from './sds-world.ts';

const NODE = node('default.web-1', { 'kuma.io/service': 'web' });
const BOTH = ['ca-1', 'ca-2'];

let world: SdsWorld;
beforeEach(async () => {
  world = await createSdsWorld();
});
afterEach(() => world.close());

/** A data plane that holds bundle and certificate. */
async function connect() {
  const stream = world.connect().open({ node: NODE, names: ['mesh_ca', 'identity_cert'] });
  const [, identity] = [await stream.next(), await stream.next()];
  const serial = leafOf(identity.secrets[0]).serialNumber;
  await world.until(() => world.holders.useOf('default', 'web-1', serial) === 'confirmed', 'use');
  return stream;
}

/** All that its certificate was asked for: one that is being looked at when something more changes is looked at once again. */
const looks = () => world.issued.map((line) => line.replace('web-1 ', ''));

describe('a certificate that stands', () => {
  it('is not looked at again when its mesh gets another backend, and with it another root', async () => {
    const stream = await connect();
    await world.putMesh('ca-1', BOTH);
    await stream.next();
    await world.quiet();
    expect(looks()).toEqual(['issued']);
  });

  it('is looked at when a root leaves the bundle, even another one than its own', async () => {
    await world.putMesh('ca-1', BOTH);
    await connect();
    await world.putMesh('ca-1', ['ca-1']);
    await world.until(() => looks().length >= 2, 'look');
    expect(new Set(looks().slice(1))).toEqual(new Set(['kept']));
  });

  it('is looked at when a rotation says something else about certificates', async () => {
    await connect();
    world.planChanged();
    await world.until(() => looks().length >= 2, 'look');
    expect(looks()).toEqual(['issued', 'kept']);
  });

  it('is looked at when its mesh is made anew with the very same backends', async () => {
    await connect();
    world.clock.advance(1000);
    await Promise.all([world.store.deleteMesh('default'), world.putMesh()]);
    await world.until(() => looks().length >= 2, 'look');
  });

  it('is replaced when the conf of its backend changes, though its root stays', async () => {
    const stream = await connect();
    const conf = { enabledBackend: 'ca-1', backends: [{ name: 'ca-1', type: 'fake', conf: {} }] };
    const short = { ...conf, backends: [{ ...conf.backends[0], dpCert: { rotation: { expiration: '2h' } } }] };
    await world.store.putResource({ type: 'Mesh', mesh: '', name: 'default', body: JSON.stringify({ mtls: short }) });
    const leaf = leafOf((await stream.next()).secrets[0]);
    expect(leaf.notAfter.getTime() - world.clock.now().getTime()).toBeLessThanOrEqual(2 * 3_600_000);
  });

  it('is of the backend that is enabled in the end, when another one was for a moment', async () => {
    await world.putMesh('ca-1', BOTH);
    const stream = await connect();
    const issuer = leafOf(stream.received[1]?.secrets[0]).issuer;
    await world.putMesh('ca-2', BOTH);
    const other = leafOf((await stream.next()).secrets[0]).issuer;
    await Promise.all([world.putMesh('ca-1', BOTH), world.putMesh('ca-2', BOTH), world.putMesh('ca-1', BOTH)]);
    expect(other).not.toBe(issuer);
    const last = () => leafOf(stream.received.at(-1)?.secrets[0]).issuer;
    await world.until(() => last() === issuer, 'the first CA again');
  });
});

it('a data plane that could not get a certificate is tried at once when its mesh gets another backend', async () => {
  world.fake.failure = new IssuerUnavailableError('out of order', { retryAfterMs: 3_600_000 });
  const stream = world.connect().open({ node: NODE, names: ['identity_cert'] });
  await world.until(
    () => world.lines.some(({ message }) => message === 'SDS: no certificate for a data plane'),
    'failure',
  );
  world.fake.failure = undefined;
  await world.putMesh('ca-2', BOTH);
  expect((await stream.next()).names).toEqual(['identity_cert']);
});
