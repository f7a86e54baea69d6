import type { MeshCa } from './mesh-ca.ts';

/** A mesh with a builtin CA with an EC P-256 key. */
export async function putBuiltinMesh(meshCa: MeshCa): Promise<void> {
  await putMesh(meshCa, 'default', { type: 'builtin', conf: { caCert: { keyType: 'EC-P256' } } });
}

export interface VaultBackend {
  readonly address: string;
  readonly mount: string;
  readonly role: string;
  readonly token: string;
}

export async function putVaultMesh(
  meshCa: MeshCa,
  mesh: string,
  backend: VaultBackend,
  more: { readonly skipValidation?: boolean } = {},
): Promise<void> {
  const { address, mount, role, token } = backend;
  await putMesh(meshCa, mesh, undefined);
  await putSecret(meshCa, mesh, 'vault-token', token);
  const auth = { token: { secret: 'vault-token' } };
  await putMesh(meshCa, mesh, { type: 'vault', conf: { fromCp: { address, pki: mount, role, auth } } }, more);
}

export async function putSecret(meshCa: MeshCa, mesh: string, name: string, text: string): Promise<void> {
  const data = Buffer.from(text).toString('base64');
  await meshCa.must('PUT', `/meshes/${mesh}/secrets/${name}`, { type: 'Secret', mesh, name, data });
}

/** @param backend undefined: a mesh without mTLS, to put secrets into first */
export async function putMesh(
  meshCa: MeshCa,
  name: string,
  backend: { type: string; conf: object } | undefined,
  more: { readonly skipValidation?: boolean } = {},
): Promise<void> {
  const mtls = { enabledBackend: 'ca-1', backends: [{ name: 'ca-1', ...backend }], ...more };
  await meshCa.must('PUT', `/meshes/${name}`, { type: 'Mesh', name, ...(backend === undefined ? {} : { mtls }) });
}
