import { join } from 'node:path';
import { expect, it } from 'vitest';
import { startChild } from './start-child.ts';
import { temporaryFolder } from './temporary-folder.ts';

it.runIf(process.platform === 'linux')(
  'a process that has closed its store holds none of its files and ends by itself',
  async () => {
    const child = startChild('close', join(temporaryFolder(), 'mesh-ca.db'));
    expect(await child.ended()).toBe(0);
    expect(child.lines).toEqual(['closed']);
  },
);
