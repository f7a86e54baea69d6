import {
  createHmac,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  ConfigError,
  NotFoundError,
  RequestInvalidError,
  StoreUnavailableError,
  UnauthenticatedError,
} from '../../src/issuer/errors.ts';
import { createSystemRandom } from '../../src/runtime/random.ts';
import { createMemoryStore } from '../../src/store/memory/memory-store.ts';
import type { Store } from '../../src/store/store.ts';
import { createDataplaneTokens, type DataplaneTokens } from '../../src/tokens/dataplane-tokens.ts';
import { createFakeClock, type FakeClock } from '../conformance/issuer-deps.ts';

const START = new Date('2026-03-04T05:06:07.890Z');
const START_S = Math.floor(START.getTime() / 1000);
const HOUR_MS = 3_600_000;
/** Made once: an RSA key takes a while. */
const KEY = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
const OTHER = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;

const pkcs1 = (key: KeyObject) => key.export({ type: 'pkcs1', format: 'pem' });
const keySecret = (serial: number, mesh = 'default') => `dataplane-token-signing-key-${mesh}-${serial}`;
const REVOCATIONS = 'dataplane-token-revocations-default';

interface Parts {
  readonly header: Record<string, unknown>;
  readonly claims: Record<string, unknown>;
}

const decode = (part = '') => JSON.parse(Buffer.from(part, 'base64url').toString());
const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
function read(token: string): Parts {
  const [header, claims] = token.split('.');
  return { header: decode(header), claims: decode(claims) };
}

/** A token as anybody with a key could make it. */
function forge({ header, claims }: Parts, key: KeyObject | Buffer | undefined = KEY, hash = 'sha256'): string {
  const input = `${encode(header)}.${encode(claims)}`;
  if (Buffer.isBuffer(key)) return `${input}.${createHmac(hash, key).update(input).digest('base64url')}`;
  return `${input}.${sign(hash, Buffer.from(input), key).toString('base64url')}`;
}

let clock: FakeClock;
let store: Store;
let lists: number;
let tokens: DataplaneTokens;
const open: DataplaneTokens[] = [];

beforeEach(async () => {
  clock = createFakeClock(START);
  const memory = createMemoryStore({ clock });
  lists = 0;
  store = {
    ...memory,
    listResources(query) {
      lists += 1;
      return memory.listResources(query);
    },
  };
  tokens = another();
  await putMesh('default');
});
afterEach(() => {
  for (const one of open.splice(0)) one.close();
});

function another(): DataplaneTokens {
  const made = createDataplaneTokens({ store, clock, random: createSystemRandom() });
  open.push(made);
  return made;
}

const putMesh = (name: string) => store.putResource({ type: 'Mesh', mesh: '', name, body: '{}' });
const putSecret = (name: string, data: string | Buffer, mesh = 'default') =>
  store.putResource({
    type: 'Secret',
    mesh,
    name,
    body: JSON.stringify({ data: Buffer.from(data).toString('base64') }),
  });
const removeSecret = (name: string) => store.deleteResource({ type: 'Secret', mesh: 'default', name });
const withKey = () => putSecret(keySecret(1), pkcs1(KEY));
const make = (more: object = {}) => tokens.generate({ mesh: 'default', name: 'web-1', validForMs: HOUR_MS, ...more });
const refusal = async (token: string, mesh = 'default'): Promise<UnauthenticatedError> => {
  const error = await tokens.verify(token, mesh).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof UnauthenticatedError) return error;
  throw new Error('the token was not refused', { cause: error });
};

describe('a data plane token', () => {
  it("is Kuma's, claim by claim", async () => {
    await withKey();
    const token = await make({ tags: { 'kuma.io/service': ['web', 'web-api'] }, type: 'dataplane' });
    const { header, claims } = read(token);
    expect(header).toEqual({ alg: 'RS256', kid: '1', typ: 'JWT' });
    expect(claims).toEqual({
      Name: 'web-1',
      Mesh: 'default',
      Tags: { 'kuma.io/service': ['web', 'web-api'] },
      Type: 'dataplane',
      jti: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/),
      iat: START_S,
      nbf: Math.floor((START.getTime() - 300_000) / 1000),
      exp: START_S + 3600,
    });
    const [head, body, signature = ''] = token.split('.');
    const input = Buffer.from(`${head}.${body}`);
    expect(verify('sha256', input, createPublicKey(KEY), Buffer.from(signature, 'base64url'))).toBe(true);
  });

  it('says nothing of name, tags and type that were not asked for, in the words of Go', async () => {
    await withKey();
    const { claims } = read(await tokens.generate({ mesh: 'default', validForMs: HOUR_MS }));
    expect(claims).toMatchObject({ Name: '', Tags: {}, Type: '' });
  });

  it('has an id of its own', async () => {
    await withKey();
    const ids = await Promise.all(Array.from({ length: 20 }, async () => read(await make()).claims.jti));
    expect(new Set(ids).size).toBe(20);
  });

  it('is proven to what it says', async () => {
    await withKey();
    const token = await make({ tags: { 'kuma.io/service': ['web'] }, type: 'ingress' });
    expect(await tokens.verify(token, 'default')).toEqual({
      mesh: 'default',
      name: 'web-1',
      tags: new Map([['kuma.io/service', ['web']]]),
      type: 'ingress',
      jti: read(token).claims.jti,
      expiresAt: new Date((START_S + 3600) * 1000),
    });
  });

  it('may leave out what Go leaves empty', async () => {
    await withKey();
    const parts = read(await make());
    const { Name: _name, Tags: _tags, Type: _type, nbf: _nbf, iat: _iat, ...claims } = parts.claims;
    expect(await tokens.verify(forge({ ...parts, claims }), 'default')).toMatchObject({
      name: undefined,
      tags: new Map(),
      type: '',
    });
    const nulls = { ...parts.claims, Tags: null };
    expect(await tokens.verify(forge({ ...parts, claims: nulls }), 'default')).toMatchObject({ tags: new Map() });
  });

  it('is not made so long that nobody takes it', async () => {
    await withKey();
    const tags = Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`tag-${index}`, ['v'.repeat(200)]]));
    await expect(make({ tags })).rejects.toThrow(RequestInvalidError);
  });

  it.each([0, -1, 999, Number.NaN])('is not made for %d ms', async (validForMs) => {
    await expect(make({ validForMs })).rejects.toThrow(TypeError);
  });
});

describe('signing keys', () => {
  it('are made with the first token, once for all who ask at the same time, in this process or another one', async () => {
    const others = [tokens, another(), another()];
    const made = await Promise.all(
      Array.from({ length: 12 }, (_, index) => others[index % 3]?.generate({ mesh: 'default', validForMs: HOUR_MS })),
    );
    const { items } = await store.listResources({ type: 'Secret', mesh: 'default' });
    expect(items.map(({ name, owned }) => [name, owned])).toEqual([[keySecret(1), true]]);
    const pem = Buffer.from(JSON.parse(items[0]?.body ?? '').data, 'base64').toString();
    expect(pem).toMatch(/^-----BEGIN RSA PRIVATE KEY-----\n[\s\S]+-----END RSA PRIVATE KEY-----\n$/);
    expect(createPrivateKey(pem).asymmetricKeyDetails?.modulusLength).toBe(2048);
    for (const token of made) await expect(tokens.verify(token ?? '', 'default')).resolves.toBeDefined();
    await store.deleteMesh('default');
    expect((await store.listResources({ type: 'Secret' })).items).toEqual([]);
    expect((await refusal(made[0] ?? '')).message).toContain('a key that mesh "default" does not have');
  });

  it('are not made for a mesh that is not there', async () => {
    const error = await tokens.generate({ mesh: 'nowhere', validForMs: HOUR_MS }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(NotFoundError);
    expect((await store.listResources({ type: 'Secret' })).items).toEqual([]);
  });

  it('sign by the highest number, and all prove', async () => {
    await withKey();
    const old = await make();
    await putSecret(keySecret(9), pkcs1(OTHER));
    await putSecret(keySecret(10), pkcs1(KEY));
    const young = await make();
    expect(read(young).header.kid).toBe('10');
    await expect(tokens.verify(old, 'default')).resolves.toBeDefined();
    await expect(tokens.verify(young, 'default')).resolves.toBeDefined();
  });

  it('prove nothing any more once they are deleted, from that moment on', async () => {
    await withKey();
    await putSecret(keySecret(2), pkcs1(OTHER));
    const token = await make();
    await tokens.verify(token, 'default');
    await removeSecret(keySecret(2));
    expect((await refusal(token)).message).toContain('a key that mesh "default" does not have');
    expect(read(await make()).header.kid).toBe('1');
  });

  it.each<[string, string | Buffer]>([
    ['PKCS#8', KEY.export({ type: 'pkcs8', format: 'pem' })],
    ['PKCS#1 in DER', KEY.export({ type: 'pkcs1', format: 'der' })],
    ['PKCS#1', pkcs1(KEY)],
  ])('may be %s', async (_name, data) => {
    await putSecret(keySecret(1), data);
    await expect(tokens.verify(await make(), 'default')).resolves.toMatchObject({ name: 'web-1' });
  });

  it.each<[string, string | Buffer]>([
    ['nothing', ''],
    ['words', 'not a key'],
    [
      'an EC key',
      generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' }),
    ],
    ['a short RSA key', pkcs1(generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey)],
    ['a public key', createPublicKey(KEY).export({ type: 'spki', format: 'pem' })],
  ])('that are %s sign nothing, say so, and leave the others alone', async (_name, data) => {
    await withKey();
    const token = await make();
    await putSecret(keySecret(2), data);
    const error = await make().catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(ConfigError);
    expect(error).toMatchObject({
      message: `secret "${keySecret(2)}" of mesh "default" holds no RSA key of 2048 bits or more`,
      fix: expect.stringContaining(`mesh-ca delete secret ${keySecret(2)} -m default`),
    });
    await expect(tokens.verify(token, 'default')).resolves.toBeDefined();
  });

  it.each([
    `${keySecret(1)}1x`,
    `${keySecret(1, 'default')}-1`,
    keySecret(1, 'default-x'),
    `x${keySecret(9)}`,
    'dataplane-token-signing-key-default-01',
  ])('are not found in a secret named %s', async (name) => {
    await withKey();
    await putSecret(name, pkcs1(OTHER));
    expect(read(await make()).header.kid).toBe('1');
  });

  it('of one mesh prove nothing in another one', async () => {
    await withKey();
    await putMesh('other');
    await putSecret(keySecret(1, 'other'), pkcs1(KEY), 'other');
    const token = await make();
    expect((await refusal(token, 'other')).message).toBe('the data plane token is not for mesh "other"');
  });
});

describe('revocations', () => {
  it.each([
    ['alone', (id: string) => id],
    ['with an end of line', (id: string) => `${id}\n`],
    ['among others', (id: string) => `first,${id},last`],
    ['with blanks', (id: string) => `first, ${id} ,last\n`],
  ])('hold from the moment that they are stored: the id %s', async (_name, list) => {
    await withKey();
    const [token, other] = [await make(), await make()];
    await tokens.verify(token, 'default');
    await putSecret(REVOCATIONS, list(String(read(token).claims.jti)));
    expect((await refusal(token)).message).toBe('the data plane token is revoked');
    await expect(tokens.verify(other, 'default')).resolves.toBeDefined();
    await removeSecret(REVOCATIONS);
    await expect(tokens.verify(token, 'default')).resolves.toBeDefined();
  });

  it('of another mesh do not hold', async () => {
    await withKey();
    const token = await make();
    await putSecret('dataplane-token-revocations-other', String(read(token).claims.jti));
    await expect(tokens.verify(token, 'default')).resolves.toBeDefined();
  });
});

describe('time', () => {
  it('ends a token at its second', async () => {
    await withKey();
    const token = await make();
    clock.setTo(new Date((START_S + 3600) * 1000 - 1));
    await expect(tokens.verify(token, 'default')).resolves.toBeDefined();
    clock.setTo(new Date((START_S + 3600) * 1000));
    expect((await refusal(token)).message).toBe('the data plane token has expired');
  });

  it('may be five minutes behind at who proves it, not more', async () => {
    await withKey();
    const token = await make();
    clock.setTo(new Date(START.getTime() - 300_000));
    await expect(tokens.verify(token, 'default')).resolves.toBeDefined();
    clock.setTo(new Date(START.getTime() - 302_000));
    expect((await refusal(token)).message).toBe('the data plane token is not valid yet: a clock is wrong');
  });
});

describe('what is no token', () => {
  const publicPem = createPublicKey(KEY).export({ type: 'spki', format: 'pem' });
  const cases: readonly { name: string; tamper: (parts: Parts, token: string) => string; says: string }[] = [
    { name: 'nothing', tamper: () => '', says: 'what was sent is no data plane token' },
    { name: 'one word', tamper: () => 'secret-word', says: 'what was sent is no data plane token' },
    { name: 'four parts', tamper: (_, token) => `${token}.abcd`, says: 'what was sent is no data plane token' },
    { name: 'a blank at the end', tamper: (_, token) => `${token} `, says: 'what was sent is no data plane token' },
    { name: 'too much', tamper: (_, token) => token + 'A'.repeat(16 * 1024), says: 'longer than 16384 characters' },
    {
      name: 'a foreign key',
      tamper: (parts) => forge(parts, OTHER),
      says: 'the signature of the data plane token is wrong',
    },
    { name: 'no signature', tamper: (_, token) => `${token.split('.').slice(0, 2).join('.')}.`, says: 'signature' },
    {
      name: 'alg none',
      tamper: ({ header, claims }) => `${encode({ ...header, alg: 'none' })}.${encode(claims)}.`,
      says: 'not signed by RS256',
    },
    {
      name: 'HS256 by the public key',
      tamper: ({ header, claims }) => forge({ header: { ...header, alg: 'HS256' }, claims }, Buffer.from(publicPem)),
      says: 'not signed by RS256',
    },
    {
      name: 'RS512',
      tamper: ({ header, claims }) => forge({ header: { ...header, alg: 'RS512' }, claims }, KEY, 'sha512'),
      says: 'not signed by RS256',
    },
    {
      name: 'a critical header',
      tamper: ({ header, claims }) => forge({ header: { ...header, crit: ['x'], x: 1 }, claims }),
      says: 'what was sent is no data plane token',
    },
    {
      name: 'no kid',
      tamper: ({ header: { kid: _kid, ...header }, claims }) => forge({ header, claims }),
      says: 'does not say in "kid"',
    },
    {
      name: 'a kid that is a number',
      tamper: ({ header, claims }) => forge({ header: { ...header, kid: 1 }, claims }),
      says: 'a key that mesh "default" does not have',
    },
    {
      name: 'an unknown kid',
      tamper: ({ header, claims }) => forge({ header: { ...header, kid: '2' }, claims }),
      says: 'a key that mesh "default" does not have',
    },
    {
      name: 'a kid of all objects',
      tamper: ({ header, claims }) => forge({ header: { ...header, kid: 'constructor' }, claims }),
      says: 'a key that mesh "default" does not have',
    },
    {
      name: 'a key that it brings along',
      tamper: ({ header, claims }) =>
        forge({ header: { ...header, jwk: createPublicKey(OTHER).export({ format: 'jwk' }) }, claims }, OTHER),
      says: 'the signature of the data plane token is wrong',
    },
    {
      name: 'no exp',
      tamper: ({ header, claims: { exp: _exp, ...claims } }) => forge({ header, claims }),
      says: 'but not a data plane token',
    },
    {
      name: 'an exp in words',
      tamper: ({ header, claims }) => forge({ header, claims: { ...claims, exp: 'never' } }),
      says: 'what was sent is no data plane token',
    },
    {
      name: 'an exp beyond all dates',
      tamper: ({ header, claims }) => forge({ header, claims: { ...claims, exp: 1e300 } }),
      says: 'but not a data plane token',
    },
    {
      name: 'no jti',
      tamper: ({ header, claims: { jti: _jti, ...claims } }) => forge({ header, claims }),
      says: 'but not a data plane token',
    },
    {
      name: 'no mesh',
      tamper: ({ header, claims: { Mesh: _mesh, ...claims } }) => forge({ header, claims }),
      says: 'but not a data plane token',
    },
    {
      name: 'a user token',
      tamper: ({ header, claims: { jti, exp } }) =>
        forge({ header, claims: { jti, exp, Name: 'me', Groups: ['admins'] } }),
      says: 'but not a data plane token',
    },
    {
      name: 'another mesh',
      tamper: ({ header, claims }) => forge({ header, claims: { ...claims, Mesh: 'other' } }),
      says: 'not for mesh "default"',
    },
    {
      name: 'a name that is a list',
      tamper: ({ header, claims }) => forge({ header, claims: { ...claims, Name: ['web-1'] } }),
      says: 'but not a data plane token',
    },
    {
      name: 'tags of one value',
      tamper: ({ header, claims }) => forge({ header, claims: { ...claims, Tags: { a: 'b' } } }),
      says: 'but not a data plane token',
    },
  ];
  it.each(cases)('is refused without a word of it: $name', async ({ tamper, says }) => {
    await withKey();
    const token = await make();
    const sent = tamper(read(token), token);
    const error = await refusal(sent);
    expect(error.message).toContain(says);
    expect(error.fix).toBe(
      'make a new one: mesh-ca generate dataplane-token -m default --name DATAPLANE --valid-for 24h',
    );
    expect(error.cause).toBeUndefined();
    const told = JSON.stringify({ ...error, message: error.message });
    for (const part of sent.split('.').filter((one) => one.length > 3)) expect(told).not.toContain(part);
  });

  it('is any text that differs from the token in one place', async () => {
    await withKey();
    const token = await make();
    const sign = fc.constantFrom(...'ABab01-_.=+/ ');
    await fc.assert(
      fc.asyncProperty(fc.nat(token.length - 1), sign, async (at, other) => {
        fc.pre(token[at] !== other);
        await refusal(token.slice(0, at) + other + token.slice(at + 1));
      }),
      {
        numRuns: 150,
        examples: [
          [token.length - 1, 'B'],
          [token.length - 1, '_'],
        ],
      },
    );
  });

  it('is any text with a part added, taken away or repeated', async () => {
    await withKey();
    const token = await make();
    await fc.assert(
      fc.asyncProperty(fc.nat(token.length), fc.nat(20), fc.string({ maxLength: 20 }), async (at, taken, added) => {
        const changed = token.slice(0, at) + added + token.slice(at + taken);
        fc.pre(changed !== token);
        await refusal(changed);
      }),
      { numRuns: 150 },
    );
  });

  it('is any text at all', async () => {
    await withKey();
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(fc.string(), fc.stringMatching(/^[\w-]{0,30}\.[\w-]{0,30}\.[\w-]{0,30}$/)),
        async (text) => {
          await refusal(text);
        },
      ),
      { numRuns: 100 },
    );
  });

  it('puts no words of a proxy into a command', async () => {
    const error = await refusal('a.b.c', 'x; rm -rf ~\u001b[2J');
    expect(error.fix).toContain(' -m MESH ');
    expect(error.message).not.toContain('\u001b');
  });
});

describe('what is remembered', () => {
  it('spares the store all but the first reading', async () => {
    await withKey();
    const token = await make();
    lists = 0;
    for (let round = 0; round < 50; round += 1) await tokens.verify(token, 'default');
    await Promise.all(Array.from({ length: 50 }, () => tokens.verify(token, 'default')));
    expect(lists).toBe(1);
    await putSecret('of-somebody-else', 'x');
    await tokens.verify(token, 'default');
    expect(lists).toBe(1);
  });

  it('is nothing of meshes without keys, whose names may be anything', async () => {
    await refusal(forge({ header: { alg: 'RS256', kid: '1' }, claims: {} }), 'nowhere');
    await putMesh('nowhere');
    await putSecret(keySecret(1, 'nowhere'), pkcs1(KEY), 'nowhere');
    const token = await tokens.generate({ mesh: 'nowhere', validForMs: HOUR_MS });
    await expect(tokens.verify(token, 'nowhere')).resolves.toBeDefined();
  });

  it('is not a failure of the store', async () => {
    await withKey();
    const token = await make();
    const { listResources } = store;
    store.listResources = () => Promise.reject(new StoreUnavailableError('the disk is full'));
    await expect(tokens.verify(token, 'default')).rejects.toThrow('the disk is full');
    store.listResources = listResources;
    await expect(tokens.verify(token, 'default')).resolves.toBeDefined();
  });

  it('is not listened for any more once it is closed', () => {
    let listeners = 0;
    const counted: Store = {
      ...store,
      onChange(listener) {
        listeners += 1;
        const end = store.onChange(listener);
        return () => {
          listeners -= 1;
          end();
        };
      },
    };
    const own = createDataplaneTokens({ store: counted, clock, random: createSystemRandom() });
    expect(listeners).toBe(1);
    own.close();
    expect(listeners).toBe(0);
  });
});
