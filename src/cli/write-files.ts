import { open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { makeFolder } from '../runtime/make-folder.ts';
import { createSystemRandom } from '../runtime/random.ts';
import { fileError } from './cli-error.ts';

export interface NewFile {
  readonly name: string;
  readonly text: string;
}

/**
 * Writes files that belong together into a folder (made when missing), mode 0600. All are on disk under temporary names before the first
 * takes its place, so that a crash or a full disk never leaves half a file, and hardly ever half a set.
 */
export async function writeFiles(folder: string, files: readonly NewFile[]): Promise<void> {
  const suffix = createSystemRandom().bytes(6).toString('hex');
  const planned = files.map(({ name, text }) => ({
    text,
    path: join(folder, name),
    temporary: join(folder, `.${name}.${suffix}.tmp`),
  }));
  try {
    makeFolder(folder);
    for (const { temporary, text } of planned) await writeDurably(temporary, text);
    for (const { temporary, path } of planned) await rename(temporary, path);
    await syncFolder(folder);
  } catch (error) {
    await Promise.all(planned.map(({ temporary }) => rm(temporary, { force: true }).catch(() => {})));
    throw fileError(`could not write files to ${folder}`, error);
  }
}

async function writeDurably(path: string, text: string): Promise<void> {
  const handle = await open(path, 'wx', 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
