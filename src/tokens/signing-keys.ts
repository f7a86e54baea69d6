import { createPrivateKey, generateKeyPair, type KeyObject } from 'node:crypto';
import pLimit from 'p-limit';
import { ConfigError, NotFoundError } from '../issuer/errors.ts';
import { parseSecret, secretToJson } from '../mesh/secret.ts';
import type { Store, StoredResource } from '../store/store.ts';

/** One key that signs data plane tokens of a mesh: the Secret `dataplane-token-signing-key-<mesh>-<serial>`. */
export interface SigningKey {
  /** What stands as `kid` in tokens: the serial number. */
  readonly kid: string;
  readonly secret: string;
  /** RSA; undefined when the secret holds something else. */
  readonly privateKey: KeyObject | undefined;
}

/** What is kept of a mesh's tokens. */
export interface TokenSecrets {
  /** The highest serial number, which signs, comes first. */
  readonly keys: readonly SigningKey[];
  /** `jti` of tokens that are not valid any more. */
  readonly revoked: ReadonlySet<string>;
}

/** Kuma's, and the least that RS256 allows (RFC 7518 section 3.3). */
const RSA_BITS = 2048;
const MOST_RSA_BITS = 8192;
const FIRST_SERIAL = '1';
/** Older ones are not looked at. */
const MOST_KEYS = 100;
/** What the names of all secrets of tokens hold; the mesh follows. */
const COMMON = 'dataplane-token-';
const SERIAL = /^(?:0|[1-9][0-9]{0,8})$/;

const keyName = (mesh: string, serial: string) => `dataplane-token-signing-key-${mesh}-${serial}`;
/** Kuma's name of the Secret with a list of `jti`, divided by commas. */
const revocationsName = (mesh: string) => `dataplane-token-revocations-${mesh}`;

export function isTokenSecret(name: string): boolean {
  return name.startsWith(COMMON);
}

export async function readTokenSecrets(store: Pick<Store, 'listResources'>, mesh: string): Promise<TokenSecrets> {
  const { items } = await store.listResources({ type: 'Secret', mesh, nameContains: COMMON });
  const prefix = keyName(mesh, '');
  const keys = items.flatMap((item) => {
    const kid = item.name.startsWith(prefix) ? item.name.slice(prefix.length) : '';
    return SERIAL.test(kid) ? [{ kid, item }] : [];
  });
  const revocations = items.find(({ name }) => name === revocationsName(mesh));
  return {
    keys: keys
      .sort((a, b) => Number(b.kid) - Number(a.kid))
      .slice(0, MOST_KEYS)
      .map(({ kid, item }) => ({ kid, secret: item.name, privateKey: readKey(dataOf(item)) })),
    revoked: new Set(revocations === undefined ? [] : readRevocations(dataOf(revocations))),
  };
}

function dataOf({ mesh, name, body }: StoredResource): Buffer {
  return parseSecret(JSON.parse(body), { mesh, name }).data;
}

/** PEM (PKCS#1, as Kuma writes it, or PKCS#8), or PKCS#1 in DER, which Kuma reads, too. */
function readKey(data: Buffer): KeyObject | undefined {
  try {
    const key = data.includes('-----BEGIN')
      ? createPrivateKey({ key: data, format: 'pem' })
      : createPrivateKey({ key: data, format: 'der', type: 'pkcs1' });
    const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
    return key.asymmetricKeyType === 'rsa' && bits >= RSA_BITS && bits <= MOST_RSA_BITS ? key : undefined;
  } catch {
    return undefined;
  }
}

function readRevocations(data: Buffer): string[] {
  const ids = data.toString().split(',');
  return ids.map((id) => id.trim()).filter((id) => id !== '');
}

/** The newest key of a mesh, made when there is none. */
export interface Signers {
  /**
   * @throws NotFoundError when there is no such mesh and no key
   * @throws ConfigError when the newest key is not usable
   */
  newest(mesh: string): Promise<{ readonly kid: string; readonly privateKey: KeyObject }>;
}

/** Kuma makes the first key with the mesh; here it comes with the first token. Who asks at the same time, here or elsewhere, gets the same. */
export function createSigners(store: Pick<Store, 'listResources' | 'getResource' | 'createResources'>): Signers {
  const making = new Map<string, Promise<void>>();
  // An RSA key takes a fifth of a second of a core, and its thread away from the disk.
  const inTurn = pLimit(1);

  function makeFirst(mesh: string): Promise<void> {
    const running = making.get(mesh) ?? inTurn(() => storeFirst(mesh)).finally(() => making.delete(mesh));
    making.set(mesh, running);
    return running;
  }

  async function storeFirst(mesh: string): Promise<void> {
    const meshKey = { type: 'Mesh', mesh: '', name: mesh };
    if ((await store.getResource(meshKey)) === undefined) throw noMesh(mesh);
    const name = keyName(mesh, FIRST_SERIAL);
    const body = JSON.stringify(secretToJson({ type: 'Secret', mesh, name, data: Buffer.from(await generatePem()) }));
    await store.createResources([{ type: 'Secret', mesh, name, body, owned: true }], { requires: [meshKey] });
  }

  async function readNewest(mesh: string): Promise<SigningKey | undefined> {
    return (await readTokenSecrets(store, mesh)).keys[0];
  }

  return {
    async newest(mesh) {
      let key = await readNewest(mesh);
      if (key === undefined) {
        await makeFirst(mesh);
        key = await readNewest(mesh);
      }
      if (key === undefined) throw noMesh(mesh);
      const { kid, secret, privateKey } = key;
      if (privateKey !== undefined) return { kid, privateKey };
      throw new ConfigError(`secret "${secret}" of mesh "${mesh}" holds no RSA key of ${RSA_BITS} bits or more`, {
        fix: `put a PEM RSA private key into it, or take it away: mesh-ca delete secret ${secret} -m ${mesh}`,
      });
    },
  };
}

function noMesh(mesh: string): NotFoundError {
  return new NotFoundError(`there is no mesh "${mesh}", so it has no signing key`, {
    fix: 'name one of those that there are: mesh-ca get meshes',
  });
}

/** In the thread pool. */
function generatePem(): Promise<string> {
  return new Promise((resolve, reject) => {
    generateKeyPair(
      'rsa',
      {
        modulusLength: RSA_BITS,
        publicKeyEncoding: { type: 'pkcs1', format: 'pem' },
        privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
      },
      (error, _publicPem, privatePem) => (error ? reject(error) : resolve(privatePem)),
    );
  });
}
