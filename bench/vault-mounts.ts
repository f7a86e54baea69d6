import { setUpPki, type VaultPki, type VaultPkiOptions } from '../testcontainers/vault-pki.ts';
import type { Bao } from './bao.ts';

/** The steps of the product's Vault page, word for word: RSA root, role that makes RSA keys, policy with `issue` only. */
export function setUpDocumented(bao: Bao): Promise<VaultPki> {
  return setUpPki(bao, { mesh: 'documented', mount: 'kmesh-pki-documented' });
}

/** Role and policy of `policies/vault` for `sign`, and an EC P-256 root like that of `builtin`: an RSA one would sign much slower. */
export async function setUpSign(
  bao: Bao,
  more: Pick<VaultPkiOptions, 'mount' | 'roleChanges'> = {},
): Promise<VaultPki> {
  const pki = await setUpPki(bao, { policy: 'sign', roleFile: 'role-dataplane-proxies-sign.json', ...more });
  await bao.must('DELETE', `${pki.mount}/root`);
  await bao.must('POST', `${pki.mount}/root/generate/internal`, {
    common_name: 'default root',
    uri_sans: 'spiffe://default',
    ttl: '87600h',
    key_type: 'ec',
    key_bits: 256,
  });
  return pki;
}
