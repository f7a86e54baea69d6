import { ConfigError, RequestInvalidError } from '../issuer/errors.ts';
import type { Backend } from './backend.ts';
import type { MeshBackends } from './backends.ts';

/**
 * The backend that issues in this mesh.
 * @throws RequestInvalidError when mTLS is off; ConfigError when the backend cannot be used
 */
export function enabledBackend(from: MeshBackends): Backend {
  if (from.enabled !== undefined) return from.enabled;
  const { name, mtls } = from.mesh;
  const wanted = mtls?.enabledBackend ?? '';
  if (wanted === '') {
    throw new RequestInvalidError(`mTLS is off in mesh "${name}"`, {
      violations: [{ field: 'mesh', message: 'mtls.enabledBackend of the mesh is empty' }],
      fix: `set mtls.enabledBackend of mesh "${name}" to one of its backends`,
    });
  }
  throw new ConfigError(
    `backend "${wanted}" of mesh "${name}" cannot be used: its type is not installed or its conf is not valid`,
    {
      fix: `mesh-ca get mesh ${name} shows it; apply a corrected mesh`,
    },
  );
}
