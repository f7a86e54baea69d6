import { module } from '../../adapters/vault/module.ts';
import type { Issuer, IssuerDeps, KeyPairIssuer, KeyType } from '../../src/issuer/issuer.ts';
import { isKeyPairIssuer } from '../../src/issuer/issuer.ts';
import { live, requestFor } from '../conformance/issuer.ts';
import { createTestDeps, type TestDeps } from '../conformance/issuer-deps.ts';
import { IDENTITY } from '../support/identity.ts';
import { type FakeVault, startFakeVault } from './fake-vault.ts';

export const CONTEXT = { mesh: 'default', backend: 'vault-1' };

/** A conf for a fake or real Vault, as an operator writes it. */
export function confFor(
  server: { readonly address: string; readonly token: string },
  changes: Readonly<Record<string, unknown>> = {},
): { fromCp: Record<string, unknown> } {
  return {
    fromCp: {
      address: server.address,
      pki: 'kmesh-pki-default',
      role: 'dataplane-proxies',
      auth: { token: { inlineString: server.token } },
      ...changes,
    },
  };
}

export function createIssuer(conf: unknown, deps: IssuerDeps = createTestDeps()): Issuer & KeyPairIssuer {
  const issuer = module.create(CONTEXT, module.parseConf(conf, CONTEXT), deps);
  if (!isKeyPairIssuer(issuer)) throw new TypeError('vault can make keys');
  return issuer;
}

export interface FakeBackend {
  readonly vault: FakeVault;
  readonly issuer: Issuer & KeyPairIssuer;
  readonly deps: TestDeps;
  sign(keyType?: KeyType, signal?: AbortSignal): ReturnType<Issuer['sign']>;
}

export const GRANTS: Readonly<
  Record<'sign' | 'issue' | 'readRole' | 'listRoles' | 'readIssuer', readonly [path: string, may: readonly string[]]>
> = {
  sign: ['kmesh-pki-default/sign/dataplane-proxies', ['update']],
  issue: ['kmesh-pki-default/issue/dataplane-proxies', ['create', 'update']],
  readRole: ['kmesh-pki-default/roles/dataplane-proxies', ['read']],
  listRoles: ['kmesh-pki-default/roles', ['list']],
  readIssuer: ['kmesh-pki-default/issuer/default', ['read']],
};

/** A fake Vault and an issuer of it; both end with the test. */
export async function startBackend(
  onFinished: (end: () => Promise<void>) => void,
  grants: readonly (keyof typeof GRANTS)[] = ['sign', 'readRole'],
  changes: Readonly<Record<string, unknown>> = {},
): Promise<FakeBackend> {
  const deps = createTestDeps();
  const vault = await startFakeVault({ now: deps.clock.now });
  for (const name of grants) vault.grants.set(...GRANTS[name]);
  const issuer = createIssuer(confFor(vault, changes), deps);
  onFinished(async () => {
    await issuer.close();
    await vault.close();
  });
  return {
    vault,
    issuer,
    deps,
    sign: async (keyType = 'EC-P256', signal = live().signal) =>
      issuer.sign(await requestFor(IDENTITY, keyType, 3600), { signal }),
  };
}
