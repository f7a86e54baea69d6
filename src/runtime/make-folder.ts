import { mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * Makes a folder and what is missing above it, mode 0700. Another process may do the same. Not `mkdir` with `recursive`: Node 20 then tries for
 * ever where a file system says ENOENT although the parent is there, as /proc does.
 * @throws the file system's error (EACCES, ENOTDIR, EROFS, ENOENT...)
 */
export function makeFolder(folder: string): void {
  const error = tryToMake(folder);
  if (error === undefined) return;
  const parent = dirname(folder);
  if (codeOf(error) !== 'ENOENT' || parent === folder) throw error;
  makeFolder(parent);
  const again = tryToMake(folder);
  if (again !== undefined) throw again;
}

/** Undefined when the folder is there now. */
function tryToMake(folder: string): unknown {
  try {
    mkdirSync(folder, { mode: 0o700 });
    return undefined;
  } catch (error) {
    return codeOf(error) === 'EEXIST' && statSync(folder).isDirectory() ? undefined : error;
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}
