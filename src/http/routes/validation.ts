import type { Backend } from '../../backends/backend.ts';
import type { Backends } from '../../backends/backends.ts';
import { ConfigError, NotFoundError } from '../../issuer/errors.ts';
import type { CallOptions } from '../../issuer/issuer.ts';
import { type Proof, proofJson } from '../../validation/proof.ts';
import type { Proofs } from '../../validation/proofs.ts';
import { json, type Reply, type Route } from '../route.ts';
import { anyJson, validationAnswer } from '../schemas.ts';

/** A Mesh with 64 backends. */
const MAX_BODY_BYTES = 2 * 1024 * 1024;
/** Names of backends that are told in an error. */
const MAX_NAMES = 10;

export interface ValidationRoutesOptions {
  readonly backends: Pick<Backends, 'get' | 'createTrial'>;
  readonly proofs: Pick<Proofs, 'prove'>;
  /**
   * Proves all backends of a Mesh that is not stored.
   * @throws ConfigError, RequestInvalidError or ResourceError with all violations, as PUT of it would
   */
  readonly validateMesh: (body: unknown, options: CallOptions) => Promise<readonly Proof[]>;
}

/** Proofs by a test certificate, on demand. */
export function validationRoutes(options: ValidationRoutesOptions): readonly Route[] {
  const common = { method: 'POST', tag: 'validation', access: 'admin' } as const;
  const answers = {
    200: {
      description: 'What every check found, whether the backends proved themselves or not',
      content: { 'application/json': validationAnswer },
    },
  };
  return [
    {
      ...common,
      path: '/meshes/:mesh/_backends/:backend/_validate',
      summary: 'Prove a backend by a test certificate',
      answers,
      async handle({ params: { mesh = '', backend = '' }, signal }) {
        const live = await liveBackend(options.backends, mesh, backend);
        return answer([await options.proofs.prove(live, { signal })]);
      },
    },
    {
      ...common,
      path: '/_validate',
      summary: 'Prove all backends of a Mesh that is not stored; nothing is stored',
      body: { kind: 'resource', schema: anyJson, maxBytes: MAX_BODY_BYTES },
      answers,
      handle: async ({ body, signal }) => answer(await options.validateMesh(body, { signal })),
    },
  ];
}

function answer(proofs: readonly Proof[]): Reply {
  return json(200, { ok: proofs.every(({ ok }) => ok), backends: proofs.map(proofJson) });
}

/** @throws NotFoundError: no such mesh, or no such backend in it; ConfigError: the backend cannot be made of what is stored */
async function liveBackend(
  backends: ValidationRoutesOptions['backends'],
  meshName: string,
  name: string,
): Promise<Backend> {
  const { mesh, backends: live } = await backends.get(meshName);
  const found = live.get(name);
  if (found !== undefined) return found;
  const specs = mesh.mtls?.backends ?? [];
  const spec = specs.find((one) => one.name === name);
  if (spec === undefined) throw unknownBackend(meshName, name, specs);
  // To make it once more tells why it could not be made.
  const { backend } = await backends.createTrial(meshName, spec);
  await backend.close();
  throw new ConfigError(`backend "${name}" of mesh "${meshName}" could not be made of its configuration`, {
    fix: 'apply the Mesh again',
  });
}

function unknownBackend(mesh: string, name: string, specs: readonly { readonly name: string }[]): NotFoundError {
  const names = specs.slice(0, MAX_NAMES).map((spec) => `"${spec.name}"`);
  const more = specs.length > MAX_NAMES ? ` and ${specs.length - MAX_NAMES} more` : '';
  const told = JSON.stringify(name.slice(0, 80));
  return new NotFoundError(`there is no backend ${told} in mesh "${mesh}"`, {
    fix:
      names.length === 0
        ? `the mesh has no backends; mesh-ca get mesh ${mesh} shows it`
        : `name one of its backends: ${names.join(', ')}${more}`,
  });
}
