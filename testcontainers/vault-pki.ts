import { readFile } from 'node:fs/promises';
import type { StartedOpenBao } from './openbao.ts';

export type PolicyKind = keyof typeof POLICY_FILES;

export interface VaultPkiOptions {
  /** Default `kmesh-pki-default`. What is mounted there is thrown away first. */
  readonly mount?: string;
  /** Default `default`. */
  readonly mesh?: string;
  /** Default `dataplane-proxies`. */
  readonly role?: string;
  /** Which of `policies/vault/*.hcl` the token gets. Default `issue`, the documented one. */
  readonly policy?: PolicyKind | 'both' | readonly PolicyKind[];
  /** More for the token: `{ no_default_policy: true }`. */
  readonly tokenOptions?: Readonly<Record<string, unknown>>;
  /** The mount's CA is signed by a root in the mount `<mount>-root`. Default false. */
  readonly intermediate?: boolean;
  /** With `intermediate`: `set-signed` gets the root, too, as the documentation says. Default true. */
  readonly withRoot?: boolean;
  /** File of `policies/vault/` with the role. Default `role-dataplane-proxies.json`, the documented one. */
  readonly roleFile?: 'role-dataplane-proxies.json' | 'role-dataplane-proxies-sign.json';
  /** Changes to the role of the file. */
  readonly roleChanges?: Readonly<Record<string, unknown>>;
}

export interface VaultPki {
  /** An orphan service token with the policy and nothing else. */
  readonly token: string;
  readonly mount: string;
  readonly role: string;
}

const POLICIES = new URL('../policies/vault/', import.meta.url);
const POLICY_FILES = {
  issue: 'kmesh-default-dataplane-proxies',
  sign: 'kmesh-default-dataplane-proxies-sign',
  checks: 'kmesh-default-dataplane-proxies-checks',
} as const;
/** The mesh, mount and role that the files of `policies/vault/` name. */
const DOCUMENTED = { mesh: 'default', mount: 'kmesh-pki-default', role: 'dataplane-proxies' } as const;
const CA_TTL = '87600h';

/** The steps of the product documentation's Vault page: mount, CA, role, policy, token. May be repeated. */
export async function setUpPki(bao: StartedOpenBao, options: VaultPkiOptions = {}): Promise<VaultPki> {
  const mesh = options.mesh ?? DOCUMENTED.mesh;
  const mount = options.mount ?? DOCUMENTED.mount;
  const role = options.role ?? DOCUMENTED.role;
  await mountPki(bao, mount);
  if (options.intermediate === true) await makeIntermediate(bao, mount, mesh, options.withRoot ?? true);
  else await makeRoot(bao, mount, mesh);

  const roleText = await readFile(new URL(options.roleFile ?? 'role-dataplane-proxies.json', POLICIES), 'utf8');
  const roleBody: unknown = JSON.parse(roleText.replaceAll(`spiffe://${DOCUMENTED.mesh}/`, `spiffe://${mesh}/`));
  await bao.must('POST', `${mount}/roles/${role}`, { ...Object(roleBody), ...options.roleChanges });

  const { policy: wanted = 'issue' } = options;
  const kinds = wanted === 'both' ? (['issue', 'sign'] as const) : typeof wanted === 'string' ? [wanted] : wanted;
  const policies: string[] = [];
  for (const kind of kinds) {
    const file = POLICY_FILES[kind];
    const text = await readFile(new URL(`${file}.hcl`, POLICIES), 'utf8');
    const name = mount === DOCUMENTED.mount && role === DOCUMENTED.role ? file : `${file}-${mount}-${role}`;
    const policy = text.replaceAll(DOCUMENTED.mount, mount).replaceAll(`/${DOCUMENTED.role}"`, `/${role}"`);
    await bao.must('PUT', `sys/policies/acl/${name}`, { policy });
    policies.push(name);
  }
  return { token: await createToken(bao, policies, options.tokenOptions), mount, role };
}

/** `vault token create -type=service -orphan -policy=...` */
export async function createToken(
  bao: StartedOpenBao,
  policies: readonly string[],
  more: Readonly<Record<string, unknown>> = {},
): Promise<string> {
  const reply = await bao.must('POST', 'auth/token/create-orphan', { type: 'service', policies, ...more });
  return textAt(reply, 'auth', 'client_token');
}

async function mountPki(bao: StartedOpenBao, mount: string): Promise<void> {
  await bao.request('DELETE', `sys/mounts/${mount}`);
  await bao.must('POST', `sys/mounts/${mount}`, { type: 'pki' });
  await bao.must('POST', `sys/mounts/${mount}/tune`, { max_lease_ttl: CA_TTL });
}

async function makeRoot(bao: StartedOpenBao, mount: string, mesh: string): Promise<string> {
  const reply = await bao.must('POST', `${mount}/root/generate/internal`, {
    common_name: `${mesh} root`,
    uri_sans: `spiffe://${mesh}`,
    ttl: CA_TTL,
  });
  return textAt(reply, 'data', 'certificate');
}

async function makeIntermediate(bao: StartedOpenBao, mount: string, mesh: string, withRoot: boolean): Promise<void> {
  const rootMount = `${mount}-root`;
  await mountPki(bao, rootMount);
  const root = await makeRoot(bao, rootMount, mesh);
  const request = await bao.must('POST', `${mount}/intermediate/generate/internal`, {
    common_name: `${mesh} intermediate`,
    uri_sans: `spiffe://${mesh}`,
  });
  const signed = await bao.must('POST', `${rootMount}/root/sign-intermediate`, {
    csr: textAt(request, 'data', 'csr'),
    format: 'pem',
    common_name: `${mesh} intermediate`,
    uri_sans: `spiffe://${mesh}`,
    ttl: '43800h',
  });
  const certificate = textAt(signed, 'data', 'certificate');
  await bao.must('POST', `${mount}/intermediate/set-signed`, {
    certificate: withRoot ? `${certificate}\n${root}` : certificate,
  });
}

function textAt(body: unknown, ...path: readonly string[]): string {
  let value = body;
  for (const key of path) value = typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined;
  if (typeof value !== 'string') throw new Error(`the answer has no ${path.join('.')}`);
  return value;
}
