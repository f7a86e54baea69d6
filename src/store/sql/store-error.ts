import { StoreUnavailableError } from '../../issuer/errors.ts';
import { codeOf } from './driver.ts';

interface Trouble {
  readonly what: string;
  readonly fix: string;
}

export const RETRY_AFTER_MS = 1000;
export const LOCK_HELD_FIX =
  'end the process that has the file of MESH_CA_STORE open (`fuser` names it), unless it is a mesh-ca at work';
const DISK_FIX = 'look into the log of the system for errors of the disk that MESH_CA_STORE is on';

/** By the begin of SQLite's name of the error: extended codes only say more (`SQLITE_IOERR_WRITE`). */
const TROUBLES: Readonly<Record<string, Trouble>> = {
  SQLITE_FULL: { what: 'the disk of the store is full', fix: 'make room on the disk that MESH_CA_STORE is on' },
  SQLITE_IOERR: { what: 'the disk of the store fails', fix: DISK_FIX },
  SQLITE_READONLY: {
    what: 'the store cannot be written',
    fix: 'check that this user may write the file of MESH_CA_STORE and its folder, and that the disk is not mounted read-only',
  },
  SQLITE_CANTOPEN: {
    what: 'a file of the store cannot be opened',
    fix: 'check that the folder of MESH_CA_STORE is there, and the limit of open files (`ulimit -n`)',
  },
  SQLITE_BUSY: {
    what: 'another process holds the lock of the store',
    fix: LOCK_HELD_FIX,
  },
};

/** What a caller of the store gets for an error of the driver: trouble of the file or disk by its name, everything else as it is. */
export function toStoreError(error: unknown): unknown {
  const code = codeOf(error);
  const trouble = Object.entries(TROUBLES).find(([prefix]) => code.startsWith(prefix))?.[1];
  if (trouble === undefined) return error;
  const options = { cause: error, fix: trouble.fix, retryAfterMs: RETRY_AFTER_MS };
  return new StoreUnavailableError(`${trouble.what} (${code})`, options);
}
