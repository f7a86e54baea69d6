import type { Backend } from '../backends/backend.ts';
import type { Backends } from '../backends/backends.ts';
import { type CaError, ConfigError, type Violation } from '../issuer/errors.ts';
import { type CallOptions, type ConfFindings, isConfChecker, isProvisioner } from '../issuer/issuer.ts';
import type { Mesh } from '../mesh/mesh.ts';
import type { MeshBackend } from '../mesh/mtls.ts';
import { checkMeshNameLength, meshNameWarnings } from '../mesh/names.ts';
import type { ResourceKey, Store } from '../store/store.ts';
import type { KindRules } from './kind-rules.ts';
import { NOT_VALID } from './resource-error.ts';

/**
 * Kuma's mesh manager: types and confs of all backends are checked, CAs that we make ourselves are made, then the Mesh is stored. Unlike
 * Kuma, a Mesh whose CA cannot be made is not stored.
 */
export function createMeshRules(store: Store, backends: Backends): KindRules {
  return {
    async beforePut(resource, { created }, options) {
      if (resource.type !== 'Mesh') throw new TypeError(`mesh rules got a ${resource.type}`);
      const violations: Violation[] = created ? checkMeshNameLength(resource.name) : [];
      const warnings: string[] = created ? meshNameWarnings(resource.name) : [];
      const made: Backend[] = [];
      let fix: string | undefined;
      try {
        for (const [index, spec] of (resource.mtls?.backends ?? []).entries()) {
          const found = await checkBackend(backends, resource, spec, index, options);
          violations.push(...found.violations);
          warnings.push(...found.warnings);
          fix ??= found.fix;
          if (found.backend !== undefined) made.push(found.backend);
        }
        if (violations.length > 0)
          throw new ConfigError(NOT_VALID, { violations, ...(fix === undefined ? {} : { fix }) });
        for (const backend of made) await provision(backend, resource, options);
        return { resource, warnings, requires: await requiredSecrets(backends, resource, made) };
      } finally {
        await Promise.all(made.map((backend) => backend.close()));
      }
    },

    async beforeDelete({ name }) {
      const { total } = await store.listResources({ type: 'Dataplane', mesh: name, size: 1 });
      if (total > 0) {
        throw new ConfigError(NOT_VALID, {
          violations: [{ field: 'mesh', message: 'unable to delete mesh, there are still some dataplanes attached' }],
          fix: `mesh-ca get dataplanes -m ${name} lists them; delete them first`,
        });
      }
      return {};
    },
  };
}

interface Found {
  readonly violations: readonly Violation[];
  readonly warnings: readonly string[];
  /** Undefined when it cannot be made. */
  readonly backend?: Backend;
  readonly fix?: string | undefined;
}

async function checkBackend(
  backends: Backends,
  mesh: Mesh,
  spec: MeshBackend,
  index: number,
  options: CallOptions,
): Promise<Found> {
  const at = `mtls.backends[${index}]`;
  const skip = mesh.mtls?.skipValidation === true;
  if ((await backends.module(spec.type)) === undefined) {
    const message = 'could not find installed plugin for this type';
    return { violations: [{ field: `${at}.type`, message }], warnings: [] };
  }
  let backend: Backend;
  try {
    backend = await backends.create(mesh.name, spec);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    // The registry leaves out a backend that it cannot make, so a Mesh stored with skipValidation does no harm.
    return { violations: skip ? [] : nested(error, at), warnings: [], fix: error.fix };
  }
  if (skip) return { violations: [], warnings: [], backend };
  if (!backend.has(isConfChecker)) return { violations: [], warnings: [], backend };
  const found = await check(backend, options).catch(async (error: unknown) => {
    await backend.close();
    throw error;
  });
  return {
    violations: found.violations.map(({ field, message }) => ({ field: joined(`${at}.conf`, field), message })),
    warnings: found.warnings.map((warning) => `${at} ("${spec.name}"): ${warning}`),
    fix: found.fix,
    backend,
  };
}

function check(backend: Backend, options: CallOptions): Promise<ConfFindings> {
  return backend.within('certificate', options, (within) =>
    backend.call(
      'checkConf',
      async (issuer, call) => (isConfChecker(issuer) ? issuer.checkConf(call) : { violations: [], warnings: [] }),
      within,
    ),
  );
}

/**
 * Secrets without which the backends that were checked, or whose CA was made, are worth nothing: they must be there when the Mesh is stored.
 */
async function requiredSecrets(backends: Backends, mesh: Mesh, made: readonly Backend[]): Promise<ResourceKey[]> {
  const skip = mesh.mtls?.skipValidation === true;
  const names: string[] = [];
  for (const spec of mesh.mtls?.backends ?? []) {
    const backend = made.find(({ name }) => name === spec.name);
    if (backend?.has(isProvisioner) === true || (!skip && backend?.has(isConfChecker) === true)) {
      names.push(...(await backends.requiredSecrets(mesh.name, spec)));
    }
  }
  return names.map((name) => ({ type: 'Secret', mesh: mesh.name, name }));
}

async function provision(backend: Backend, mesh: Mesh, options: CallOptions): Promise<void> {
  if (!backend.has(isProvisioner)) return;
  try {
    await backend.within('certificate', options, (within) =>
      backend.call('ensure', async (issuer, call) => (isProvisioner(issuer) ? issuer.ensure(call) : undefined), within),
    );
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const index = mesh.mtls?.backends.findIndex(({ name }) => name === backend.name) ?? 0;
    throw new ConfigError(NOT_VALID, {
      cause: error,
      violations: nested(error, `mtls.backends[${index}]`),
      ...(error.fix === undefined ? {} : { fix: error.fix }),
    });
  }
}

/** Kuma nests a backend's own fields under `mtls.backends[i].conf`; an error without field stands at `conf` itself. */
function nested(error: CaError, at: string): readonly Violation[] {
  if (error.violations.length === 0) return [{ field: `${at}.conf`, message: error.message }];
  return error.violations.map(({ field, message }) => ({ field: joined(`${at}.conf`, field), message }));
}

function joined(base: string, field: string): string {
  if (field === '') return base;
  return field.startsWith('[') ? `${base}${field}` : `${base}.${field}`;
}
