import type { Demo } from '../demo.ts';
import { makeProvidedCa } from '../steps/make-provided-ca.ts';
import { startVault } from '../steps/start-vault.ts';
import type { RestartableMeshCa } from './restartable-mesh-ca.ts';

/** The mesh that Vault's documented policy and role are for. */
export const MESH = 'default';

/** One of `mtls.backends`. */
export interface Backend {
  readonly name: string;
  readonly type: string;
  readonly dpCert: object;
  readonly conf?: object;
}

const dpCert = { rotation: { expiration: '1d' } };

export const BUILTIN: Backend = { name: 'ca-1', type: 'builtin', dpCert };
export const OTHER_BUILTIN: Backend = { name: 'ca-2', type: 'builtin', dpCert };

export interface ForeignBackends {
  readonly vault: Backend;
  readonly provided: Backend;
}

/** A real Vault, set up as documented, and a root with an intermediate made by openssl; what mesh-ca needs to use them goes into secrets of the mesh. */
export async function prepareBackends(demo: Demo, meshCa: RestartableMeshCa): Promise<ForeignBackends> {
  const { address, token } = await startVault(demo);
  const ca = await makeProvidedCa(demo);
  const secrets = { 'vault-token': token, 'provided-cert': ca.chainPem, 'provided-key': ca.keyPem };
  for (const [name, text] of Object.entries(secrets)) {
    const data = Buffer.from(text).toString('base64');
    const body = { type: 'Secret', mesh: MESH, name, data };
    await meshCa.api().send('PUT', `/meshes/${MESH}/secrets/${name}`, { body });
  }
  const auth = { token: { secret: 'vault-token' } };
  const fromCp = { address, pki: 'kmesh-pki-default', role: 'dataplane-proxies', auth };
  return {
    vault: { name: 'vault-1', type: 'vault', dpCert, conf: { fromCp } },
    provided: {
      name: 'own-1',
      type: 'provided',
      dpCert,
      conf: { cert: { secret: 'provided-cert' }, key: { secret: 'provided-key' } },
    },
  };
}

/** Stores the Mesh. Without backends: without `mtls`. */
export async function putMesh(
  meshCa: RestartableMeshCa,
  backends: readonly Backend[],
  enabled?: Backend,
  { skipValidation = false } = {},
): Promise<void> {
  const mtls = enabled === undefined ? {} : { mtls: { enabledBackend: enabled.name, backends, skipValidation } };
  await meshCa.api().send('PUT', `/meshes/${MESH}`, { body: { type: 'Mesh', name: MESH, ...mtls } });
}
