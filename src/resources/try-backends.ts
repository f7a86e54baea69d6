import pLimit from 'p-limit';
import type { Backend } from '../backends/backend.ts';
import type { Backends, TrialBackend } from '../backends/backends.ts';
import { type CaError, ConfigError, type Violation } from '../issuer/errors.ts';
import { type CallOptions, type ConfFindings, isConfChecker, isProvisioner } from '../issuer/issuer.ts';
import type { Mesh } from '../mesh/mesh.ts';
import type { MeshBackend } from '../mesh/mtls.ts';
import { fieldBelow } from '../mesh/violations.ts';
import { NOT_VALID } from './resource-error.ts';

/** Keys of CAs are made by the threads that Node has for such work. */
const CAS_AT_ONCE = 4;

/** A backend of a Mesh that is not stored, made to be tried. */
export interface Tried extends TrialBackend {
  readonly spec: MeshBackend;
  /** `mtls.backends[<index>]` */
  readonly at: string;
}

export interface TriedBackends {
  /** Those that could be made, in the order of the Mesh. */
  readonly tried: readonly Tried[];
  readonly warnings: readonly string[];
}

/**
 * Makes all backends of a Mesh as if it were stored, checks their types and confs, has those make their CA that make one (in memory), and
 * runs `work` with them; then closes them.
 * @throws ConfigError with all violations
 */
export async function withTriedBackends<T>(
  backends: Backends,
  mesh: Mesh,
  options: CallOptions,
  work: (tried: TriedBackends) => Promise<T>,
): Promise<T> {
  const made: Tried[] = [];
  try {
    const violations: Violation[] = [];
    const warnings: string[] = [];
    let fix: string | undefined;
    for (const [index, spec] of (mesh.mtls?.backends ?? []).entries()) {
      const found = await tryBackend(backends, mesh, spec, `mtls.backends[${index}]`, made, options);
      violations.push(...found.violations);
      warnings.push(...found.warnings);
      fix ??= found.fix;
    }
    if (violations.length > 0) throw new ConfigError(NOT_VALID, { violations, ...(fix === undefined ? {} : { fix }) });
    await pLimit(CAS_AT_ONCE).map(made, (one) => provision(one, options));
    return await work({ tried: made, warnings });
  } finally {
    await Promise.all(made.map(({ backend }) => backend.close()));
  }
}

interface Found {
  readonly violations: readonly Violation[];
  readonly warnings: readonly string[];
  readonly fix?: string | undefined;
}

const NOTHING: Found = { violations: [], warnings: [] };

async function tryBackend(
  backends: Backends,
  mesh: Mesh,
  spec: MeshBackend,
  at: string,
  made: Tried[],
  options: CallOptions,
): Promise<Found> {
  const skip = mesh.mtls?.skipValidation === true;
  if ((await backends.module(spec.type)) === undefined) {
    const message = 'could not find installed plugin for this type';
    return { violations: [{ field: `${at}.type`, message }], warnings: [] };
  }
  let trial: TrialBackend;
  try {
    trial = await backends.createTrial(mesh.name, spec);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    // The registry leaves out a backend that it cannot make, so a Mesh stored with skipValidation does no harm.
    return { violations: skip ? [] : nested(error, at), warnings: [], fix: error.fix };
  }
  made.push({ ...trial, spec, at });
  if (skip || !trial.backend.has(isConfChecker)) return NOTHING;
  const found = await checkConf(trial.backend, options);
  return {
    violations: found.violations.map(({ field, message }) => ({ field: fieldBelow(`${at}.conf`, field), message })),
    warnings: found.warnings.map((warning) => `${at} ("${spec.name}"): ${warning}`),
    fix: found.fix,
  };
}

function checkConf(backend: Backend, options: CallOptions): Promise<ConfFindings> {
  return backend.within('certificate', options, (within) =>
    backend.call(
      'checkConf',
      async (issuer, call) => (isConfChecker(issuer) ? issuer.checkConf(call) : { violations: [], warnings: [] }),
      within,
    ),
  );
}

async function provision({ backend, at }: Tried, options: CallOptions): Promise<void> {
  if (!backend.has(isProvisioner)) return;
  try {
    await backend.within('certificate', options, (within) =>
      backend.call('ensure', async (issuer, call) => (isProvisioner(issuer) ? issuer.ensure(call) : undefined), within),
    );
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError(NOT_VALID, {
      cause: error,
      violations: nested(error, at),
      ...(error.fix === undefined ? {} : { fix: error.fix }),
    });
  }
}

/** Kuma nests a backend's own fields under `mtls.backends[i].conf`; an error without field stands at `conf` itself. */
function nested(error: CaError, at: string): readonly Violation[] {
  if (error.violations.length === 0) return [{ field: `${at}.conf`, message: error.message }];
  return error.violations.map(({ field, message }) => ({ field: fieldBelow(`${at}.conf`, field), message }));
}
