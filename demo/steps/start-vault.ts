import { startOpenBao } from '../../testcontainers/openbao.ts';
import { setUpPki } from '../../testcontainers/vault-pki.ts';
import type { Demo } from '../demo.ts';

export interface DemoVault {
  readonly address: string;
  /** Never printed. */
  readonly token: string;
}

/** A real Vault, set up by the steps of the product's Vault page with the files of `policies/vault/`. */
export async function startVault({ screen, closers }: Demo): Promise<DemoVault> {
  const vault = await startOpenBao({ print: (line) => screen.step(line) });
  closers.add(`the vault at ${vault.address}`, vault.close);
  const { token, mount, role } = await setUpPki(vault, { policy: 'issue' });
  screen.step(`vault: PKI ${mount} with a root, role ${role} as documented,
policy policies/vault/kmesh-default-dataplane-proxies.hcl as documented (Vault makes the keys), orphan token`);
  return { address: vault.address, token };
}
