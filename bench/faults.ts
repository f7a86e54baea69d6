import type { BackendType, FaultWorld } from '../test/faults/fault-world.ts';
import { FAULTS } from '../test/faults/faults.ts';
import { type FaultResult, findWorld, runFault } from '../test/faults/run-fault.ts';
import { WORLDS } from '../test/faults/worlds.ts';
import type { Cleanup } from './cleanup.ts';
import type { Cores } from './cores.ts';
import { formatFaults, isMet } from './faults/fault-table.ts';
import { writeFaults } from './faults/write-faults.ts';
import { describeMachine, formatMachine } from './machine.ts';
import { runMain } from './run-main.ts';

const TYPES = Object.keys(WORLDS) as BackendType[];
const USAGE = `npm run bench:faults -- [${TYPES.join('|')}]...\n`;
/** Times are compared with seconds here, and server and client are one process for the most part. */
const NOT_PINNED: Cores = { pinned: false, description: 'not pinned', forServers: (start) => start() };
const say = (line: string) => void process.stderr.write(`${line}\n`);

/** Every fault of the table on every backend wanted, one after the other. A missed target is a result, not an error. */
async function main(args: readonly string[], cleanup: Cleanup): Promise<void> {
  const unknown = args.filter((arg) => !TYPES.some((type) => type === arg));
  if (unknown.length > 0) throw new Error(`unknown: ${unknown.join(', ')}; usage: ${USAGE}`);
  const machine = describeMachine(NOT_PINNED);
  const results: FaultResult[] = [];
  for (const type of TYPES.filter((one) => args.length === 0 || args.includes(one))) {
    results.push(...(await runAll(type, cleanup)));
    await cleanup.run();
  }
  const table = `${formatFaults(results)}\n${formatMachine(machine)}`;
  process.stdout.write(`\n${table}`);
  if (args.length > 0) say('only some backends: nothing written to bench/results');
  else await writeFaults(results, machine, table);
}

async function runAll(type: BackendType, cleanup: Cleanup): Promise<FaultResult[]> {
  const worlds: FaultWorld[] = [];
  for (const start of WORLDS[type]) {
    const world = await start();
    cleanup.add(world.close);
    worlds.push(world);
  }
  const results: FaultResult[] = [];
  for (const row of FAULTS) {
    const world = findWorld(worlds, row);
    if (world === undefined) throw new Error(`nothing shows "${row.name}" for ${type}`);
    const result = await runFault(world, row);
    say(`${type}: ${row.name}: ${isMet(result) ? 'met' : 'missed'}`);
    results.push(result);
  }
  return results;
}

await runMain(main);
