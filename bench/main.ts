import { startBao } from './bao.ts';
import { type Bench, createBench, FULL, QUICK } from './bench.ts';
import type { Cleanup } from './cleanup.ts';
import { pinCores } from './cores.ts';
import type { Figure } from './figure.ts';
import { measureAcmPca } from './figures/acmpca.ts';
import { measureBuiltin } from './figures/builtin.ts';
import { measureCertManager } from './figures/certmanager.ts';
import { measureHerd } from './figures/herd.ts';
import { measureIsolation } from './figures/isolation.ts';
import { measureOpenBaoSign } from './figures/openbao-sign.ts';
import { measureOutage } from './figures/outage.ts';
import { measureRotation } from './figures/rotation.ts';
import { measureStart } from './figures/start.ts';
import { measureStreams } from './figures/streams.ts';
import { measureVault, measureVaultOverhead } from './figures/vault.ts';
import { describeMachine, formatMachine } from './machine.ts';
import { formatFigures, writeResults } from './report.ts';
import { runMain } from './run-main.ts';
import { setUpSign } from './vault-mounts.ts';

const FIGURES = [
  'builtin',
  'openbao-sign',
  'vault',
  'vault-overhead',
  'certmanager',
  'acmpca',
  'isolation',
  'herd',
  'outage',
  'rotation',
  'streams',
  'start',
];
const USAGE = `npm run bench -- [--quick] [${FIGURES.join('|')}]...\n`;
const say = (line: string) => void process.stderr.write(`${line}\n`);

/** One run: every figure wanted, side by side on one machine. A missed target is a result, not an error. */
async function main(args: readonly string[], cleanup: Cleanup): Promise<void> {
  const quick = args.includes('--quick');
  const wanted = args.filter((arg) => arg !== '--quick');
  const unknown = wanted.filter((name) => !FIGURES.includes(name));
  if (unknown.length > 0) throw new Error(`unknown: ${unknown.join(', ')}; usage: ${USAGE}`);
  const cores = pinCores();
  const machine = describeMachine(cores);
  const effort = quick ? QUICK : FULL;
  say(`${effort.csrs} CSRs, each with a key of its own`);
  const bench = await createBench({ effort, cores, cleanup, say });
  const { figures, openbao } = await measureAll(bench, (name) => wanted.length === 0 || wanted.includes(name));
  const described = { ...machine, versions: { ...machine.versions, ...(openbao === undefined ? {} : { openbao }) } };
  const table = `${formatFigures(figures)}\n${formatMachine(described)}`;
  process.stdout.write(`\n${table}`);
  if (quick) say('quick: nothing written to bench/results');
  else await writeResults(figures, described, wanted.length === 0 ? table : undefined);
}

async function measureAll(
  bench: Bench,
  isWanted: (name: string) => boolean,
): Promise<{ figures: readonly Figure[]; openbao: string | undefined }> {
  const figures: Figure[] = [];
  let openbao: string | undefined;
  if (isWanted('builtin')) figures.push(await measureBuiltin(bench));
  const needBao = ['openbao-sign', 'vault', 'vault-overhead', 'isolation', 'herd', 'outage', 'rotation'];
  if (needBao.some(isWanted)) {
    const bao = await startBao(bench);
    openbao = bao.version;
    const sign = await setUpSign(bao);
    if (isWanted('openbao-sign') || isWanted('vault')) {
      const direct = await measureOpenBaoSign(bench, bao, sign, figures[0]?.measurements[1]);
      figures.push(direct);
      if (isWanted('vault')) figures.push(await measureVault(bench, bao, sign, direct.measurements[0]));
    }
    if (isWanted('vault-overhead')) figures.push(await measureVaultOverhead(bench, bao, sign));
    if (isWanted('isolation')) figures.push(await measureIsolation(bench, bao));
    if (isWanted('herd')) figures.push(await measureHerd(bench, bao));
    if (isWanted('outage')) figures.push(await measureOutage(bench, bao));
    if (isWanted('rotation')) figures.push(await measureRotation(bench, bao));
    await bao.close();
  }
  if (isWanted('certmanager')) figures.push(await measureCertManager(bench));
  if (isWanted('acmpca')) figures.push(await measureAcmPca(bench));
  if (isWanted('streams')) figures.push(await measureStreams(bench));
  if (isWanted('start')) figures.push(await measureStart(bench));
  return { figures, openbao };
}

await runMain(main);
