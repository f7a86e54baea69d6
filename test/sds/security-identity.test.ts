import { generateKeyPair } from 'node:crypto';
import { promisify } from 'node:util';
import { status } from '@grpc/grpc-js';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { IssuerUnavailableError } from '../../src/issuer/errors.ts';
import type { ResourceKey } from '../../src/store/store.ts';
import { node, type Received, type SdsStreamClient } from './sds-client.ts';
import { createSdsWorld, leafOf, type SdsWorld } from './sds-world.ts';

const TRUST = ['mesh_ca'];
const IDENTITY = ['identity_cert'];
const HOUR_MS = 3_600_000;
const web = { 'kuma.io/service': 'web' };
const db = { 'kuma.io/service': 'db' };

/** Made once: an RSA key takes a while. */
let signingKey: string;
beforeAll(async () => {
  const { privateKey } = await promisify(generateKeyPair)('rsa', { modulusLength: 2048 });
  signingKey = privateKey.export({ type: 'pkcs1', format: 'pem' }).toString();
});

let world: SdsWorld;
beforeEach(async () => {
  world = await createSdsWorld({ sdsAuth: 'token' });
  await world.putSecret('dataplane-token-signing-key-default-1', signingKey);
});
afterEach(() => world.close());

/** A token for every data plane with this service, unless it names one. */
const tokenOf = (service: string | undefined, name?: string) =>
  world.tokens.generate({
    ...{ mesh: 'default', validForMs: HOUR_MS },
    ...(service !== undefined && { tags: { 'kuma.io/service': [service] } }),
    ...(name !== undefined && { name }),
  });

const servicesOf = ({ secrets }: Received) =>
  secrets.flatMap((secret) => (secret.tlsCertificate === undefined ? [] : (leafOf(secret).uriSans[0] ?? [])));
const sentTo = (stream: SdsStreamClient) => stream.received.flatMap(servicesOf);

/** The backend answers nobody until this is called. */
function holdBackend(): () => void {
  let open = () => {};
  world.fake.gate = new Promise((resolve) => {
    open = resolve;
  });
  return open;
}

describe('the key of a data plane', () => {
  it('goes to no stream that proves another service, while its own certificate is being made', async () => {
    const client = world.connect();
    const victim = client.open({ node: node('default.a', web), names: IDENTITY, token: await tokenOf('web') });
    await victim.next();
    const open = holdBackend();
    const thief = client.open({ node: node('default.a', db), names: IDENTITY, token: await tokenOf('db'), ack: false });
    for (let i = 0; i < 5; i += 1) {
      await world.quiet();
      thief.send({ resourceNames: IDENTITY });
    }
    await world.quiet();
    open();
    await world.quiet();
    expect(sentTo(thief)).not.toContain('spiffe://default/web');
  });

  it('goes to no stream that proves another service, when the backend fails after the operator gave other tags', async () => {
    await world.putDataplane('a', web);
    const client = world.connect();
    const both = await world.tokens.generate({
      ...{ mesh: 'default', validForMs: HOUR_MS, name: 'a' },
      tags: { 'kuma.io/service': ['web', 'db'] },
    });
    await client.open({ node: node('default.a'), names: IDENTITY, token: both }).next();
    world.fake.failure = new IssuerUnavailableError('down');
    await world.putDataplane('a', db);
    await world.quiet();
    const thief = client.open({ node: node('default.a'), names: IDENTITY, token: await tokenOf('db'), ack: false });
    await world.quiet();
    thief.send({ resourceNames: IDENTITY });
    await world.quiet();
    expect(sentTo(thief)).toEqual([]);
  });

  it('goes to no stream whose proof covered the tags of before, and that subscribes anew', async () => {
    await world.putDataplane('a', web);
    const client = world.connect();
    const thief = client.open({ mode: 'delta', node: node('default.a'), names: IDENTITY, token: await tokenOf('web') });
    await thief.next();
    thief.send({ resourceNamesUnsubscribe: IDENTITY });
    await world.quiet();
    await world.putDataplane('a', db);
    const own = client.open({ node: node('default.a'), names: IDENTITY, token: await tokenOf('db') });
    expect(servicesOf(await own.next())).toEqual(['spiffe://default/db']);
    thief.send({ resourceNamesSubscribe: IDENTITY });
    await world.quiet();
    expect(sentTo(thief)).toEqual(['spiffe://default/web']);
  });

  it('goes to no stream whose token has expired, and that subscribes anew', async () => {
    await world.putDataplane('a', web);
    const client = world.connect();
    const thief = client.open({ mode: 'delta', node: node('default.a'), names: IDENTITY, token: await tokenOf('web') });
    await thief.next();
    thief.send({ resourceNamesUnsubscribe: IDENTITY });
    await world.quiet();
    await world.oversleep(2 * HOUR_MS);
    const own = client.open({ node: node('default.a'), names: IDENTITY, token: await tokenOf('web') });
    await own.next();
    thief.send({ resourceNamesSubscribe: IDENTITY });
    const { code } = await thief.ended;
    expect(code).toBe(status.UNAUTHENTICATED);
    expect(sentTo(thief)).toHaveLength(1);
  });

  it('of new tags goes to nobody whose proof was looked at before the operator changed them', async () => {
    await world.putDataplane('a', web);
    // What is read just before the operator changes the tags.
    const stale = await world.store.getResource({ type: 'Dataplane', mesh: 'default', name: 'a' });
    await world.putDataplane('a', db);
    const { getResource } = world.store;
    // One look when the stream comes, one before a certificate is asked for; whoever issues looks for himself.
    let looks = 2;
    Object.assign(world.store, {
      async getResource(key: ResourceKey) {
        if (key.type !== 'Dataplane' || looks === 0) return getResource(key);
        looks -= 1;
        return stale;
      },
    });
    const thief = world.connect().open({ node: node('default.a'), names: IDENTITY, token: await tokenOf('web') });
    await world.until(() => world.issued.length > 0, 'certificate');
    await world.quiet();
    expect(sentTo(thief)).toEqual([]);
  });
});

describe('a token that is revoked', () => {
  const revoke = (token: string) => {
    const { jti } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
    return world.putSecret('dataplane-token-revocations-default', jti);
  };

  it('ends all streams that came with it, at once, and no other', async () => {
    await world.putDataplane('a', web);
    const client = world.connect();
    const [stolen, good] = [await tokenOf('web', 'a'), await tokenOf('web', 'a')];
    const [identity, trust, own] = [
      client.open({ node: node('default.a'), names: IDENTITY, token: stolen }),
      client.open({ node: node('default.a'), names: TRUST, token: stolen }),
      client.open({ node: node('default.a'), names: IDENTITY, token: good }),
    ];
    await Promise.all([identity, trust, own].map((stream) => stream.next()));
    await revoke(stolen);
    expect((await identity.ended).code).toBe(status.UNAUTHENTICATED);
    expect((await trust.ended).code).toBe(status.UNAUTHENTICATED);
    await world.until(() => world.server.readings().streams === 1, 'the other one');
    expect(own.received).toHaveLength(1);
  });

  it('is not one that has expired: its data plane gets the roots that it needs, and no key', async () => {
    await world.putDataplane('a', web);
    const client = world.connect();
    const old = await tokenOf('web', 'a');
    const trust = client.open({ node: node('default.a'), names: TRUST, token: old });
    await trust.next();
    await world.oversleep(2 * HOUR_MS);
    await revoke(await tokenOf('web'));
    await world.putMesh('ca-2', ['ca-1', 'ca-2']);
    expect((await trust.next()).names).toEqual(TRUST);
    expect(world.issued).toEqual([]);
  });
});

describe('a proxy with a token of another service', () => {
  it('takes no data plane of another service off the air', async () => {
    const client = world.connect();
    const victim = client.open({ node: node('default.a', web), names: IDENTITY, token: await tokenOf('web', 'a') });
    await victim.next();
    for (const tags of [db, { 'kuma.io/service': 'a b' }, {}, web]) {
      client.open({ node: node('default.a', tags), names: IDENTITY, token: await tokenOf('db') });
    }
    await world.quiet();
    await world.putMesh('ca-2', ['ca-1', 'ca-2']);
    expect(servicesOf(await victim.next())).toEqual(['spiffe://default/web']);
  });

  it('gives the place up to the data plane that its own token names', async () => {
    const client = world.connect();
    const squatter = client.open({ node: node('default.a', db), names: IDENTITY, token: await tokenOf('db') });
    await squatter.next();
    const own = client.open({ node: node('default.a', web), names: IDENTITY, token: await tokenOf('web', 'a') });
    expect(servicesOf(await own.next())).toEqual(['spiffe://default/web']);
    expect((await squatter.ended).code).toBe(status.ABORTED);
    expect(sentTo(squatter)).toEqual(['spiffe://default/db']);
  });

  it('says nothing about what a data plane of another service trusts', async () => {
    await world.putDataplane('a', web);
    const client = world.connect();
    const liar = client.open({ node: node('default.a', db), names: TRUST, token: await tokenOf('db') });
    const { code } = await liar.ended;
    expect(code).toBe(status.PERMISSION_DENIED);
    await world.quiet();
    expect(await world.store.listTrustStatements('default')).toEqual([]);
    expect(world.lastSeen.get('default', 'a')).toBeUndefined();
  });
});
