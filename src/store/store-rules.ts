import { ConflictError, NotFoundError } from '../issuer/errors.ts';
import type { CertificateRecord, ListQuery, ResourceKey, StoreChange, StoredResource } from './store.ts';

/** What every implementation does alike: refusals, the words of its errors, and the telling of changes. */

/** @throws TypeError for a key that no caller of ours may hand in */
export function checkKey(key: ResourceKey): void {
  if (key.type === '' || key.name === '') throw new TypeError('a resource key needs a type and a name');
}

/** @throws TypeError for a Mesh: what hangs on it would stay behind */
export function checkDeletable(key: ResourceKey): void {
  if (key.type === 'Mesh') throw new TypeError('a Mesh is deleted with deleteMesh');
}

/** @throws TypeError when an offset or size is not a whole number from 0 */
export function checkQuery(query: ListQuery): void {
  for (const field of ['offset', 'size'] as const) {
    const value = query[field];
    if (value !== undefined && (!Number.isSafeInteger(value) || value < 0)) {
      throw new TypeError(`${field} must be a whole number from 0, not ${value}`);
    }
  }
}

/** @throws TypeError when a time is not a time: it could be written but never read again */
export function checkRecord(record: CertificateRecord): void {
  for (const field of ['issuedAt', 'notBefore', 'notAfter', 'renewAt'] as const) checkTime(field, record[field]);
}

export function checkTime(field: string, time: Date): void {
  if (Number.isNaN(time.getTime())) throw new TypeError(`${field} is not a time`);
}

/** `Secret default/tls`, `Mesh default`. */
function nameOf(key: ResourceKey): string {
  return key.mesh === '' ? `${key.type} ${key.name}` : `${key.type} ${key.mesh}/${key.name}`;
}

/** `there is no Mesh "default"`, `there is no Secret "tls" in mesh "default"`. */
export function missingError({ type, mesh, name }: ResourceKey): NotFoundError {
  const where = mesh === '' ? '' : ` in mesh "${mesh}"`;
  return new NotFoundError(`there is no ${type} "${name}"${where}`, { fix: 'make it first, then repeat the request' });
}

/** `found` and `expected` are versions; 0 is absence. */
export function versionConflict(key: ResourceKey, found: number, expected: number): ConflictError {
  const is = found === 0 ? 'does not exist' : `is at version ${found}`;
  const wanted = expected === 0 ? 'it should not exist yet' : `version ${expected} was expected`;
  return new ConflictError(`${nameOf(key)} ${is}, ${wanted}`, { fix: 'read it again and repeat the change' });
}

/** What of a resource tells whether it is still the one that was read. */
export type Revision = Pick<StoredResource, 'version' | 'createdAt'>;

export function isSameRevision(found: Revision | undefined, seen: Revision): boolean {
  return found?.version === seen.version && found.createdAt.getTime() === seen.createdAt.getTime();
}

export function changedConflict(seen: StoredResource, found: Revision | undefined): ConflictError {
  const now =
    found === undefined
      ? 'was deleted'
      : found.version === seen.version
        ? 'was deleted and made again'
        : `is at version ${found.version}`;
  return new ConflictError(`${nameOf(seen)} ${now}, version ${seen.version} was looked at`, {
    fix: 'read it again and repeat the change',
  });
}

/** A certificate for a mesh that was deleted and made again meanwhile. */
export function remadeConflict(mesh: string): ConflictError {
  return new ConflictError(`${nameOf(meshKey(mesh))} was deleted and made again while a certificate was issued in it`, {
    fix: 'ask again',
  });
}

/** A mesh that cannot go because of `key`. */
export function occupiedConflict(mesh: string, key: ResourceKey): ConflictError {
  return new ConflictError(`${nameOf(meshKey(mesh))} still has ${nameOf(key)}`, {
    fix: `delete every ${key.type} of the mesh first`,
  });
}

export function bundleConflict(mesh: string, found: number, previous: number): ConflictError {
  return new ConflictError(`trust bundle of mesh ${mesh} is at version ${found}, version ${previous} was expected`, {
    fix: 'read it again and repeat the change',
  });
}

export function meshKey(mesh: string): ResourceKey {
  return { type: 'Mesh', mesh: '', name: mesh };
}

export function keyOf(resource: ResourceKey): ResourceKey {
  return { type: resource.type, mesh: resource.mesh, name: resource.name };
}

export function closedError(): Error {
  return new Error('the store is closed');
}

export function changeOf(key: ResourceKey): StoreChange {
  return { kind: 'resource', key };
}
