import { canonicalJson } from '../backends/canonical-json.ts';
import { ConflictError, NotFoundError, RequestInvalidError, type Violation } from '../issuer/errors.ts';
import type { Mesh, MeshBackend } from '../mesh/mesh.ts';
import {
  DEFAULT_PER_SECOND,
  isUnderWay,
  MOST_PER_SECOND,
  type RotationRecord,
  stateOf,
  withHistory,
} from './rotation-record.ts';

/** The body of `PUT /meshes/{mesh}/_rotation` (API.md). What is left out has its default, or stays as it is when the rotation is under way. */
export interface RotationRequest {
  readonly to: string;
  readonly keepOld?: boolean;
  readonly maxPerSecond?: number;
  readonly paused?: boolean;
  readonly immediate?: boolean;
}

/** What a new rotation is decided by. */
export interface StartFacts {
  readonly mesh: Mesh;
  /** The enabled backend can make a successor of its own CA. */
  readonly canRenew: boolean;
  readonly now: Date;
}

/**
 * The record that a request leads to. Pure.
 * @param record what there is, under way or not
 * @throws RequestInvalidError with all violations, ConflictError when another rotation is under way
 */
export function applyRequest(
  record: RotationRecord | undefined,
  request: RotationRequest,
  facts: StartFacts,
): RotationRecord {
  const violations = optionViolations(request);
  if (isUnderWay(record)) {
    if (request.to !== record.to) throw otherUnderWay(facts.mesh.name, record, request.to);
    if (violations.length > 0) throw invalid(facts.mesh.name, violations);
    return changed(record, request, facts.now);
  }
  violations.push(...startViolations(request, facts));
  if (violations.length > 0) throw invalid(facts.mesh.name, violations);
  return started(request, facts);
}

function optionViolations({ to, maxPerSecond }: RotationRequest): Violation[] {
  const violations: Violation[] = [];
  if (to === '') violations.push({ field: 'to', message: 'has to be set' });
  const isRate = maxPerSecond === undefined || (Number.isInteger(maxPerSecond) && maxPerSecond >= 1);
  if (!isRate || (maxPerSecond ?? 1) > MOST_PER_SECOND)
    violations.push({ field: 'maxPerSecond', message: `has to be a whole number from 1 to ${MOST_PER_SECOND}` });
  return violations;
}

function startViolations({ to }: RotationRequest, { mesh: { mtls }, canRenew }: StartFacts): Violation[] {
  const enabled = mtls?.enabledBackend ?? '';
  if (enabled === '') return [{ field: 'mesh', message: 'mTLS is off: mtls.enabledBackend is empty' }];
  const names = mtls?.backends.map(({ name }) => name) ?? [];
  if (to !== '' && !names.includes(to)) {
    const known = names.map((name) => `"${name}"`).join(', ');
    return [{ field: 'to', message: `has to be one of the backends in the mesh (${known})` }];
  }
  if (to === enabled && !canRenew) {
    const type = mtls?.backends.find(({ name }) => name === to)?.type;
    const message = `is enabled already, and a CA of type ${type} makes no successor of itself`;
    return [{ field: 'to', message }];
  }
  return [];
}

function invalid(mesh: string, violations: readonly Violation[]): RequestInvalidError {
  const list = violations.map(({ field, message }) => `${field}: ${message}`).join('; ');
  return new RequestInvalidError(`mesh "${mesh}" cannot be rotated so: ${list}`, {
    violations,
    fix: `mesh-ca get mesh ${mesh} -o yaml shows its backends; mesh-ca rotate ${mesh} --to BACKEND`,
  });
}

/** `is being rotated from "ca-1" to "vault-1"` */
function wayOf({ kind, from, to }: RotationRecord): string {
  return kind === 'generation'
    ? `is being rotated to the next root of "${to}"`
    : `is being rotated from "${from}" to "${to}"`;
}

function otherUnderWay(mesh: string, record: RotationRecord, wanted: string): ConflictError {
  return new ConflictError(`mesh "${mesh}" ${wayOf(record)}, not to "${wanted}"`, {
    fix: `wait for its end (mesh-ca rotate ${mesh} --watch), or roll it back first: mesh-ca rotate ${mesh} --rollback`,
  });
}

function changed(record: RotationRecord, request: RotationRequest, now: Date): RotationRecord {
  const { paused: before, ...rest } = record;
  const { keepOld, maxPerSecond, immediate } = record.options;
  const options = {
    keepOld: request.keepOld ?? keepOld,
    maxPerSecond: request.maxPerSecond ?? maxPerSecond,
    immediate: request.immediate ?? immediate,
  };
  const isPaused = request.paused ?? before !== undefined;
  const isSame =
    isPaused === (before !== undefined) &&
    options.keepOld === keepOld &&
    options.maxPerSecond === maxPerSecond &&
    options.immediate === immediate;
  if (isSame) return record;
  // Whoever lets it go on has looked at what the Mesh is now.
  if (before !== undefined && !isPaused) delete rest.switchFrom;
  return withHistory({ ...rest, ...(isPaused && { paused: before ?? { at: now } }), options }, now);
}

function started(request: RotationRequest, { mesh, now }: StartFacts): RotationRecord {
  const from = mesh.mtls?.enabledBackend ?? '';
  const record: RotationRecord = {
    kind: request.to === from ? 'generation' : 'backend',
    from,
    to: request.to,
    direction: 'forward',
    step: 'trusting',
    options: {
      keepOld: request.keepOld ?? false,
      maxPerSecond: request.maxPerSecond ?? DEFAULT_PER_SECOND,
      immediate: request.immediate ?? false,
    },
    history: [{ state: 'trusting', at: now }],
    stepAt: now,
    startedAt: now,
  };
  return withHistory({ ...record, ...(request.paused === true && { paused: { at: now } }) }, now);
}

/**
 * The record of a rotation that is rolled back from now on, wherever it is. Pure.
 * @param canGoBack false: what it started from no longer exists
 * @throws NotFoundError when there is none, ConflictError when it is too late
 */
export function applyRollBack(
  mesh: string,
  record: RotationRecord | undefined,
  { canGoBack, now }: { readonly canGoBack: boolean; readonly now: Date },
): RotationRecord {
  if (record === undefined)
    throw new NotFoundError(`mesh "${mesh}" is not being rotated`, {
      fix: `mesh-ca rotate ${mesh} --to BACKEND starts a rotation`,
    });
  if (record.step === 'done') throw tooLate(mesh, record);
  if (record.direction === 'back')
    return record.paused === undefined ? record : changed(record, { to: record.to, paused: false }, now);
  if (!canGoBack) {
    throw new ConflictError(`the old generation of CA "${record.from}" of mesh "${mesh}" is gone`, {
      fix: `wait for the end, then make another one: mesh-ca rotate ${mesh} --to ${record.to}`,
    });
  }
  const { paused: _paused, switchedAt: _switchedAt, switchFrom: _switchFrom, ...rest } = record;
  return withHistory({ ...rest, direction: 'back', step: 'trusting', stepAt: now }, now);
}

function tooLate(mesh: string, { from, to, direction, kind }: RotationRecord): ConflictError {
  if (kind === 'generation')
    return new ConflictError(`CA "${to}" of mesh "${mesh}" has been rotated already`, {
      fix: `make another generation: mesh-ca rotate ${mesh} --to ${to}`,
    });
  const [what, back] = direction === 'forward' ? ['rotated', from] : ['rolled back', to];
  return new ConflictError(`mesh "${mesh}" has been ${what} already`, {
    fix: `rotate again: add backend "${back}" to the mesh if it is not there, then mesh-ca rotate ${mesh} --to ${back}`,
  });
}

/** What of a backend decides about certificates and trust. */
function essence(mesh: Mesh, name: string): string {
  const spec: MeshBackend | undefined = mesh.mtls?.backends.find((backend) => backend.name === name);
  return spec === undefined
    ? ''
    : canonicalJson([spec.type, spec.conf ?? null, spec.dpCert?.rotation.expiration ?? null]);
}

/**
 * A Mesh that is put while it is being rotated must leave to the rotation what it works on.
 * @throws ConflictError
 */
export function guardMesh(record: RotationRecord, before: Mesh, after: Mesh): void {
  if (!isUnderWay(record) || after.mtls?.skipValidation === true) return;
  const enabled = (mesh: Mesh) => mesh.mtls?.enabledBackend ?? '';
  const touched = [
    ...(enabled(before) === enabled(after) ? [] : ['mtls.enabledBackend']),
    ...[...new Set([record.from, record.to])]
      .filter((name) => essence(before, name) !== essence(after, name))
      .map((name) => `backend "${name}"`),
  ];
  if (touched.length === 0) return;
  const { name } = after;
  throw new ConflictError(
    `mesh "${name}" ${wayOf(record)} (${stateOf(record)}): ${touched.join(' and ')} cannot be changed meanwhile`,
    {
      fix: `wait for its end (mesh-ca rotate ${name} --watch), roll it back (mesh-ca rotate ${name} --rollback), or set mtls.skipValidation`,
    },
  );
}
