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

export async function putVaultMesh(meshCa: MeshCa, mesh: string, backend: VaultBackend): Promise<void> {
  const { address, mount, role, token } = backend;
  await meshCa.must('PUT', `/meshes/${mesh}`, { type: 'Mesh', name: mesh });
  await meshCa.must('PUT', `/meshes/${mesh}/secrets/vault-token`, {
    type: 'Secret',
    mesh,
    name: 'vault-token',
    data: Buffer.from(token).toString('base64'),
  });
  const auth = { token: { secret: 'vault-token' } };
  await putMesh(meshCa, mesh, { type: 'vault', conf: { fromCp: { address, pki: mount, role, auth } } });
}

async function putMesh(meshCa: MeshCa, name: string, backend: { type: string; conf: object }): Promise<void> {
  await meshCa.must('PUT', `/meshes/${name}`, {
    type: 'Mesh',
    name,
    mtls: { enabledBackend: 'ca-1', backends: [{ name: 'ca-1', ...backend }] },
  });
}
