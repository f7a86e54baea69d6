import type { StartedOpenBao } from '../../../testcontainers/openbao.ts';
import { setUpPki, type VaultPki, type VaultPkiOptions } from '../../../testcontainers/vault-pki.ts';
import type { Answer, TestApp } from '../../support/test-app.ts';

export const BACKEND = 'vault-1';
const SECRET = 'vault-token';

export interface WorldOptions {
  readonly server: StartedOpenBao;
  readonly app: TestApp;
  readonly name: string;
  readonly pki?: VaultPkiOptions;
  /** Where everything is, and the backend looks for it. Made where there is none. Default: the root namespace. */
  readonly namespace?: string;
}

/** A mesh with one Vault backend, and a mount, a role, a policy and a token that only it uses. */
export interface World extends VaultPki {
  readonly server: StartedOpenBao;
  readonly app: TestApp;
  readonly mesh: string;
  /** A call of an administrator that must succeed; gives the body. */
  must(method: string, path: string, body?: unknown): Promise<unknown>;
  /** The policies that the token was given. */
  readonly policies: readonly string[];
  /** Adds to the first policy of the token. */
  extendPolicy(hcl: string): Promise<void>;
  /** Changes `conf.fromCp`; `undefined` takes a key away. Takes effect with the next `store`. */
  change(fromCp: Readonly<Record<string, unknown>>): void;
  /** The token that the backend uses from now on. */
  giveToken(token: string): Promise<void>;
  putSecret(name: string, value: string): Promise<void>;
  /** Stores the Mesh; with `skipValidation` as it is. */
  store(skipValidation: boolean, query?: string): Promise<Answer>;
}

/** A set-up without a fault, as documented for `sign` with the policy for the checks; `pki` changes it. Not stored yet. */
export async function createWorld({ app, name, pki, namespace, ...options }: WorldOptions): Promise<World> {
  const mesh = name;
  const server = namespace === undefined ? options.server : await inNamespace(options.server, namespace);
  const mount = `pki-${name}`;
  const made = await setUpPki(server, {
    ...{ mesh, mount, policy: ['sign', 'checks'], roleFile: 'role-dataplane-proxies-sign.json' },
    ...pki,
  });
  const looked = await server.must('POST', 'auth/token/lookup', { token: made.token });
  const policies = textsAt(looked, 'data', 'policies').filter((policy) => policy !== 'default');
  const fromCp: Record<string, unknown> = {
    address: server.address,
    pki: made.mount,
    role: made.role,
    auth: { token: { secret: SECRET } },
    ...(namespace !== undefined && { namespace }),
  };
  await app.ok('PUT', `/meshes/${mesh}`, { type: 'Mesh', name: mesh });
  const world: World = {
    ...made,
    ...{ server, app, mesh, policies },
    must: (method, path, body) => server.must(method, path, body),
    async extendPolicy(hcl) {
      const [policy = ''] = policies;
      const before = textAt(await server.must('GET', `sys/policies/acl/${policy}`), 'data', 'policy');
      await server.must('PUT', `sys/policies/acl/${policy}`, { policy: `${before}\n${hcl}\n` });
    },
    change(changes) {
      Object.assign(fromCp, changes);
    },
    giveToken: (token) => world.putSecret(SECRET, token),
    async putSecret(secret, value) {
      const data = Buffer.from(value).toString('base64');
      await app.ok('PUT', `/meshes/${mesh}/secrets/${secret}`, { type: 'Secret', mesh, name: secret, data });
    },
    store: (skipValidation, query = '') =>
      app.request('PUT', `/meshes/${mesh}${query}`, {
        type: 'Mesh',
        name: mesh,
        mtls: {
          skipValidation,
          enabledBackend: BACKEND,
          backends: [{ name: BACKEND, type: 'vault', conf: { fromCp } }],
        },
      }),
  };
  await world.giveToken(made.token);
  return world;
}

/** The same server, as those see it who live in the namespace. */
async function inNamespace(server: StartedOpenBao, namespace: string): Promise<StartedOpenBao> {
  await server.request('POST', `sys/namespaces/${namespace}`);
  return {
    ...server,
    request: (method, path, body, options) => server.request(method, path, body, { namespace, ...options }),
    must: (method, path, body, options) => server.must(method, path, body, { namespace, ...options }),
  };
}

/** What stands in a JSON body at this place. @throws Error when it is no text */
export function textAt(body: unknown, ...path: readonly string[]): string {
  const value = valueAt(body, path);
  if (typeof value !== 'string') throw new Error(`the answer has no ${path.join('.')}`);
  return value;
}

/** As `textAt`, for a list of texts; empty when there is none. */
export function textsAt(body: unknown, ...path: readonly string[]): readonly string[] {
  const value = valueAt(body, path);
  return Array.isArray(value) ? value.filter((one) => typeof one === 'string') : [];
}

function valueAt(body: unknown, path: readonly string[]): unknown {
  let value = body;
  for (const key of path) value = typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined;
  return value;
}
