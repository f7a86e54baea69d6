import type { Backend } from '../backends/backend.ts';
import type { Backends } from '../backends/backends.ts';
import { ConfigError, RequestInvalidError } from '../issuer/errors.ts';
import type { CallOptions } from '../issuer/issuer.ts';
import { parseMesh } from '../mesh/mesh.ts';
import { checkName } from '../mesh/names.ts';
import { isJsonObject } from '../mesh/violations.ts';
import type { Proof } from '../validation/proof.ts';
import { proveAll } from '../validation/prove-all.ts';
import { NOT_VALID } from './resource-error.ts';
import type { TrialLine } from './trial-line.ts';
import { withTriedBackends } from './try-backends.ts';

export interface ValidateMeshOptions {
  readonly backends: Backends;
  readonly prove: (backend: Backend, options: CallOptions) => Promise<Proof>;
  readonly line: TrialLine;
}

/**
 * Proves every backend of a Mesh that is not stored, also with `skipValidation`. Secrets that it names are those of the stored mesh of its name.
 * Nothing is stored.
 * @throws ConfigError with all violations of the Mesh and its backends' confs; RateLimitedError when too many others are tried
 */
export async function validateMesh(
  body: unknown,
  { backends, prove, line }: ValidateMeshOptions,
  options: CallOptions,
): Promise<readonly Proof[]> {
  if (!isJsonObject(body)) throw new RequestInvalidError('the body is not a JSON object', { fix: 'send a Mesh' });
  const name = typeof body.name === 'string' ? body.name : '';
  const violations = [
    ...(body.type === 'Mesh' ? [] : [{ field: 'type', message: 'has to be "Mesh"' }]),
    ...checkName(name),
  ];
  if (violations.length > 0) {
    throw new ConfigError(NOT_VALID, { violations, fix: 'send one Mesh, as for PUT, with type and name in it' });
  }
  const mesh = parseMesh(body, { name });
  const checked = mesh.mtls === undefined ? mesh : { ...mesh, mtls: { ...mesh.mtls, skipValidation: false } };
  return line.run(checked.mtls?.backends.length ?? 0, options, () =>
    withTriedBackends(backends, checked, options, async ({ tried }) =>
      (await proveAll(tried, prove, options)).map(({ proof }) => proof),
    ),
  );
}
