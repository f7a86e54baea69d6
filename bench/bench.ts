import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Cleanup } from './cleanup.ts';
import type { Cores } from './cores.ts';
import { runBenchProgram } from './run-bench-program.ts';

/** How long and how much. */
export interface Effort {
  readonly warmUpMs: number;
  readonly measureMs: number;
  /** Vault makes RSA keys so slowly that it gets a shorter time. */
  readonly slowMeasureMs: number;
  /** Each with a key of its own. */
  readonly csrs: number;
  readonly starts: number;
  readonly records: number;
  /** CertificateRequests of the run with faults. */
  readonly requests: number;
  /** How long ACM PCA is asked for all that its quota gives. */
  readonly acmpcaSeconds: number;
  /** Windows of each kind, in turn: without trouble, and with it. */
  readonly rounds: number;
  /** Data planes that ask again after a restart. */
  readonly herd: number;
  /** Data planes whose certificates fall due while Vault is sealed, and for how long it is. */
  readonly outageDataplanes: number;
  readonly outageMs: number;
  /** Data planes of a mesh whose CA is rotated. */
  readonly rotated: number;
  /** Streams that are open at once. */
  readonly streams: number;
}

export const FULL: Effort = {
  warmUpMs: 6000,
  measureMs: 10_000,
  slowMeasureMs: 10_000,
  csrs: 50_000,
  starts: 5,
  records: 10_000,
  requests: 10_000,
  acmpcaSeconds: 40,
  rounds: 3,
  herd: 10_000,
  outageDataplanes: 1000,
  outageMs: 20_000,
  rotated: 10_000,
  streams: 2000,
};

/** For work on the bench itself: its numbers mean little. */
export const QUICK: Effort = {
  warmUpMs: 1000,
  measureMs: 2000,
  slowMeasureMs: 2000,
  csrs: 4000,
  starts: 2,
  records: 1000,
  requests: 1000,
  acmpcaSeconds: 10,
  rounds: 1,
  herd: 1000,
  outageDataplanes: 200,
  outageMs: 6000,
  rotated: 500,
  streams: 200,
};

/** Connections of the load client. Each waits for its answer before it asks again. */
export const CONNECTIONS = 32;

/** What every figure needs. */
export interface Bench {
  readonly effort: Effort;
  readonly cores: Cores;
  readonly cleanup: Cleanup;
  /** A CSR a line, DER in base64. */
  readonly csrFile: string;
  /** PEM. All of them different. */
  readonly csrs: readonly string[];
  /** An empty folder that goes away at the end. */
  makeFolder(): Promise<string>;
  /** Says what is done now. */
  say(line: string): void;
}

export async function createBench(options: Pick<Bench, 'effort' | 'cores' | 'cleanup' | 'say'>): Promise<Bench> {
  const makeFolder = async () => {
    const folder = await mkdtemp(join(tmpdir(), 'mesh-ca-bench-'));
    options.cleanup.add(() => rm(folder, { recursive: true, force: true }));
    return folder;
  };
  const csrFile = join(await makeFolder(), 'csrs');
  const csrs = await makeCsrs(options, csrFile);
  return { ...options, csrFile, csrs, makeFolder };
}

/** On two cores at once; the core of the servers has nothing else to do yet. */
async function makeCsrs({ effort, cores, cleanup }: Pick<Bench, 'effort' | 'cores' | 'cleanup'>, file: string) {
  const half = String(Math.ceil(effort.csrs / 2));
  const other = cores.forServers(async () => runBenchProgram('make-csrs', [half], cleanup));
  const texts = await Promise.all([runBenchProgram('make-csrs', [half], cleanup), other]);
  await writeFile(file, texts.join(''));
  return (await readFile(file, 'latin1')).trim().split('\n').map(toPem);
}

function toPem(base64: string): string {
  const lines = base64.match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE REQUEST-----\n${lines.join('\n')}\n-----END CERTIFICATE REQUEST-----\n`;
}
