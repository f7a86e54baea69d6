import { mkdir, rename, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { FaultResult } from '../../test/faults/run-fault.ts';
import type { Machine } from '../machine.ts';
import { isMet } from './fault-table.ts';

const RESULTS = new URL('../results/', import.meta.url);

/** `bench/results/faults.json` and `faults.txt`, each written whole or not at all. */
export async function writeFaults(results: readonly FaultResult[], machine: Machine, table: string): Promise<void> {
  await mkdir(RESULTS, { recursive: true });
  const judged = results.map((result) => ({ ...result, result: isMet(result) ? 'met' : 'missed' }));
  await writeWhole('faults.json', `${JSON.stringify({ name: 'faults', results: judged, machine }, rounded, 2)}\n`);
  await writeWhole('faults.txt', table);
}

async function writeWhole(name: string, text: string): Promise<void> {
  const file = fileURLToPath(new URL(name, RESULTS));
  await writeFile(`${file}.tmp`, text);
  await rename(`${file}.tmp`, file);
}

/** Four digits say all that a measurement knows. */
function rounded(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value;
}
