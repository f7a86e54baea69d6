import { constants } from 'node:fs';
import { open, realpath } from 'node:fs/promises';
import { isAbsolute, relative, sep } from 'node:path';
import { ConfigError } from '../issuer/errors.ts';
import type { CallOptions, DataSource, SecretAccess } from '../issuer/issuer.ts';

/** A CA certificate with its chain and a key are a few kilobytes. */
const MAX_FILE_BYTES = 1024 * 1024;

export interface DataSourceLoaderOptions {
  readonly mesh: string;
  readonly secrets: SecretAccess;
  /** Directories below which a `file` source may lie. Empty: every `file` source is refused. */
  readonly fileDirs: readonly string[];
}

/**
 * Loads what a DataSource names (Kuma's `DataSource`: secret, file, inline, inlineString).
 * @returns a function that throws ConfigError `could not load data: <cause>`, Kuma's words where it has them
 */
export function createDataSourceLoader(
  options: DataSourceLoaderOptions,
): (source: DataSource, call: CallOptions) => Promise<Buffer> {
  return async (source, { signal }) => {
    signal.throwIfAborted();
    switch (source.kind) {
      case 'inline':
        return source.inline;
      case 'secret': {
        const data = await options.secrets.read(source.secret);
        if (data === undefined) {
          throw new ConfigError(
            `could not load data: resource not found: type="Secret" name="${source.secret}" mesh="${options.mesh}"`,
            {
              fix: `put the secret first: mesh-ca apply -f SECRET.yaml (type: Secret, mesh: ${options.mesh}, name: ${source.secret})`,
            },
          );
        }
        return data;
      }
      case 'file':
        return readFileBelow(source.file, options.fileDirs);
    }
  };
}

async function readFileBelow(path: string, dirs: readonly string[]): Promise<Buffer> {
  const refuse = (why: string, fix: string) => new ConfigError(`could not load data: file "${path}": ${why}`, { fix });
  if (dirs.length === 0) {
    throw refuse(
      'file data sources are switched off',
      'name the allowed directories: MESH_CA_FILE_DATA_SOURCE_DIRS=/etc/mesh-ca',
    );
  }
  if (!isAbsolute(path)) throw refuse('the path is not absolute', 'give the whole path');
  const allowed = `put the file below one of ${dirs.join(', ')}, or add its directory to MESH_CA_FILE_DATA_SOURCE_DIRS`;
  let real: string;
  try {
    real = await realpath(path);
  } catch (error) {
    if (!(await isBelow(path, dirs))) throw refuse('outside the allowed directories', allowed);
    throw refuse(reasonOf(error), 'check the path and the rights of the user that runs mesh-ca');
  }
  if (!(await isBelow(real, dirs))) throw refuse('outside the allowed directories', allowed);
  // A link put there between the check and the opening must not be followed, and a pipe must not hang the call.
  const file = await open(real, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(
    (error: unknown) => {
      throw refuse(reasonOf(error), 'check the rights of the user that runs mesh-ca');
    },
  );
  try {
    const stat = await file.stat();
    if (!stat.isFile()) throw refuse('not a regular file', 'name a file');
    if (stat.size > MAX_FILE_BYTES) throw refuse(`larger than ${MAX_FILE_BYTES} bytes`, 'name the PEM file itself');
    return await file.readFile();
  } finally {
    await file.close();
  }
}

async function isBelow(path: string, dirs: readonly string[]): Promise<boolean> {
  for (const dir of dirs) {
    const real = await realpath(dir).catch(() => dir);
    const way = relative(real, path);
    if (way !== '' && way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way)) return true;
  }
  return false;
}

function reasonOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'unreadable';
  return code === 'ENOENT' ? 'no such file' : code === 'EACCES' ? 'permission denied' : code;
}
