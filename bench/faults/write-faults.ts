import type { FaultResult } from '../../test/faults/run-fault.ts';
import type { Machine } from '../machine.ts';
import { rounded, writeWhole } from '../report.ts';
import { isMet } from './fault-table.ts';

/** `bench/results/faults.json` and `faults.txt`. */
export async function writeFaults(results: readonly FaultResult[], machine: Machine, table: string): Promise<void> {
  const judged = results.map((result) => ({ ...result, result: isMet(result) ? 'met' : 'missed' }));
  await writeWhole('faults.json', `${JSON.stringify({ name: 'faults', results: judged, machine }, rounded, 2)}\n`);
  await writeWhole('faults.txt', table);
}
