import { access, constants, mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { runProgram } from './run-program.ts';
import { serversFolder } from './servers-folder.ts';

export const MOTO_VERSION = '5.2.5';

/** moto's server for ACM PCA and STS, and all that these import: no more, and in these versions. */
const PACKAGES = [
  `moto==${MOTO_VERSION}`,
  'blinker==1.9.0',
  'boto3==1.44.5',
  'botocore==1.44.5',
  'certifi==2026.10.18',
  'cffi==2.1.1',
  'charset-normalizer==3.5.2',
  'click==8.5.1',
  'cryptography==50.0.2',
  'flask==3.1.3',
  'flask-cors==6.0.5',
  'idna==3.20',
  'itsdangerous==2.2.0',
  'jinja2==3.1.6',
  'jmespath==1.1.0',
  'markupsafe==3.0.4',
  'pycparser==3.12',
  'python-dateutil==2.9.0.post0',
  'pyyaml==6.0.3',
  'requests==2.34.2',
  'responses==0.26.3',
  's3transfer==0.19.3',
  'six==1.17.0',
  'urllib3==2.8.0',
  'werkzeug==3.1.9',
  'xmltodict==1.0.4',
] as const;

/**
 * moto decrypts and checks a CA's key again for each use: 40 ms of its one core, twice for a certificate. Kept, it issues hundreds a second.
 */
const LAUNCHER = `
from functools import cached_property
from moto.acmpca.models import CertificateAuthority
from moto.server import main
key = cached_property(CertificateAuthority.key.fget)
key.__set_name__(CertificateAuthority, 'key')
CertificateAuthority.key = key
main()
`;

const INSTALL_TIMEOUT_MS = 300_000;
const PROBE_TIMEOUT_MS = 20_000;

export interface FoundMoto {
  /** The program and its first arguments. */
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** A folder or a program, for the line that says what is used. */
  readonly path: string;
  readonly from: string;
}

interface Python {
  readonly command: string;
  /** `cp311`: what compiled modules are made for. */
  readonly tag: string;
}

/** The cache folder, then `moto_server` on PATH. */
export async function findMoto(env: NodeJS.ProcessEnv = process.env): Promise<FoundMoto | undefined> {
  const python = await findPython();
  if (python !== undefined) {
    const folder = cachedMoto(python, env);
    if (await isThere(join(folder, 'moto', 'server.py'))) return inFolder(python, folder);
  }
  for (const folder of (env.PATH ?? '').split(delimiter)) {
    const program = join(folder, 'moto_server');
    if (folder !== '' && (await isThere(program, constants.X_OK))) {
      return { command: [program], env: {}, path: program, from: 'moto_server on PATH' };
    }
  }
  return undefined;
}

/**
 * Puts moto into the cache folder, if it is not there yet, by `pip install --target`: no virtual environment, so that the folder can be renamed into place
 * whole, and nothing of the system's Python is touched (an externally managed one included). Safe to race.
 * @throws Error that names what is missing and the way round it
 */
export async function installMoto(showProgress: boolean): Promise<string> {
  const python = await findPython();
  if (python === undefined) {
    throw new Error(
      'it comes from PyPI: install Python 3 with pip (package python3-pip), or put moto_server on PATH, or name a running server in MESH_CA_TEST_MOTO_ADDR',
    );
  }
  const target = cachedMoto(python);
  if (await isThere(join(target, 'moto', 'server.py'))) return target;
  await mkdir(serversFolder(), { recursive: true });
  const work = await mkdtemp(join(serversFolder(), '.moto-'));
  try {
    const ready = join(work, 'ready');
    const options = ['--no-deps', '--only-binary', ':all:', '--no-compile', '--target', ready];
    const result = await runProgram([python.command, '-m', 'pip', 'install', ...options, ...PACKAGES], {
      timeoutMs: INSTALL_TIMEOUT_MS,
      showOutput: showProgress,
      env: { ...process.env, PIP_DISABLE_PIP_VERSION_CHECK: '1', PIP_NO_INPUT: '1', PIP_ROOT_USER_ACTION: 'ignore' },
    });
    if (result.exitCode !== 0) {
      throw new Error(`pip could not install moto ${MOTO_VERSION}: ${result.output.trim() || 'see above'}`);
    }
    await moveInPlace(ready, target);
    return target;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

function inFolder(python: Python, folder: string): FoundMoto {
  return {
    command: [python.command, '-c', LAUNCHER],
    env: { PYTHONPATH: folder },
    path: folder,
    from: `moto ${MOTO_VERSION}`,
  };
}

function cachedMoto(python: Python, env: NodeJS.ProcessEnv = process.env): string {
  return join(serversFolder(env), `moto-${MOTO_VERSION}-${python.tag}`);
}

async function findPython(): Promise<Python | undefined> {
  for (const command of ['python3', 'python']) {
    const tag = "import sys; print('cp%d%d' % sys.version_info[:2])";
    const { exitCode, output } = await runProgram([command, '-c', tag], { timeoutMs: PROBE_TIMEOUT_MS });
    if (exitCode === 0 && /^cp3\d+$/.test(output.trim())) return { command, tag: output.trim() };
  }
  return undefined;
}

async function moveInPlace(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    if (!(await isThere(join(to, 'moto', 'server.py')))) throw error;
  }
}

async function isThere(path: string, mode: number = constants.R_OK): Promise<boolean> {
  return access(path, mode).then(
    () => true,
    () => false,
  );
}
