import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makeFolder } from '../../src/runtime/make-folder.ts';
import { makeTempDir, type TempDir } from '../support/temp-dir.ts';

let dir: TempDir;
beforeEach(async () => {
  dir = await makeTempDir();
});
afterEach(() => dir.remove());

describe('making a folder', () => {
  it('makes what is missing above it, for nobody else, and may be repeated', () => {
    const folder = join(dir.path, 'a', 'b', 'c');
    makeFolder(folder);
    makeFolder(folder);
    for (const made of [folder, join(dir.path, 'a')]) expect(statSync(made).mode & 0o777).toBe(0o700);
  });

  it('fails below a file, and where a file is', () => {
    writeFileSync(join(dir.path, 'file'), '');
    expect(() => makeFolder(join(dir.path, 'file'))).toThrow(/EEXIST/);
    expect(() => makeFolder(join(dir.path, 'file', 'a', 'b'))).toThrow(/ENOTDIR/);
  });

  // Node 20's own recursive mkdir does not come back from this.
  it.runIf(process.platform === 'linux')('fails where the file system makes no folders', () => {
    expect(() => makeFolder('/proc/mesh-ca/data')).toThrow(/ENOENT/);
  });
});
