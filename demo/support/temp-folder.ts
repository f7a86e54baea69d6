import { rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Closers } from './closers.ts';

/** A folder that goes away with the demo, also when the process ends in a hurry. */
export async function makeTempFolder(closers: Closers): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'mesh-ca-demo-'));
  const removeNow = () => rmSync(folder, { recursive: true, force: true });
  process.once('exit', removeNow);
  closers.add(`the folder ${folder}`, async () => {
    await rm(folder, { recursive: true, force: true });
    process.removeListener('exit', removeNow);
  });
  return folder;
}
