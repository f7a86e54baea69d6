import type { Bench } from '../bench.ts';
import type { Measurement } from '../figure.ts';
import { runBenchProgram } from '../run-bench-program.ts';

interface Run {
  readonly count: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
}

/** What `programs/ceiling.ts` prints: one run for each way to import a key. */
export type CeilingRun = Readonly<Record<string, Run>>;

/** On the servers' core, half of the usual time: it is run before and after what it is compared with. */
export async function runCeiling({ effort, cores, cleanup, csrFile, say }: Bench): Promise<CeilingRun> {
  say('ceiling: import of the key, verify, sign with node:crypto');
  const seconds = String(effort.measureMs / 4000);
  const text = await cores.forServers(() => runBenchProgram('ceiling', [csrFile, seconds], cleanup));
  return JSON.parse(text) as CeilingRun;
}

/** The quickest way (by CPU time) over all runs. */
export function ceilingOf(runs: readonly CeilingRun[]): Measurement {
  const ways = Object.keys(runs[0] ?? {}).map((name) => {
    const sum = (of: (run: Run) => number) => runs.reduce((total, run) => total + (run[name] ? of(run[name]) : 0), 0);
    const count = sum((run) => run.count);
    return {
      name,
      certificatesPerSecond: count / sum((run) => run.seconds),
      cpuSecondsPer1000: (1000 * sum((run) => run.cpuSeconds)) / count,
    };
  });
  const [best] = ways.sort((a, b) => a.cpuSecondsPer1000 - b.cpuSecondsPer1000);
  if (best === undefined) throw new Error('the ceiling was not measured');
  const { name, ...numbers } = best;
  return { name: 'ceiling: node:crypto alone', ...numbers, details: { keyImport: name, ways } };
}
