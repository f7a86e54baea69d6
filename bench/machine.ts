import { cpus, loadavg, totalmem } from 'node:os';
import { VERSION } from '../src/version.ts';
import type { Cores } from './cores.ts';

/** What the numbers depend on. No names of machines or folders. */
export interface Machine {
  readonly date: string;
  readonly cpu: string;
  readonly cores: number;
  readonly pinning: string;
  readonly memoryGb: number;
  /** Of the last minute before the first figure, by processes that are not ours. Near 0 on a machine that has nothing else to do. */
  readonly loadBefore: number;
  readonly platform: string;
  readonly versions: Readonly<Record<string, string>>;
}

export function describeMachine(cores: Cores): Machine {
  const all = cpus();
  return {
    date: new Date().toISOString(),
    cpu: all[0]?.model ?? 'unknown',
    cores: all.length,
    pinning: cores.description,
    memoryGb: Math.round(totalmem() / 1024 ** 3),
    loadBefore: loadavg()[0] ?? 0,
    platform: `${process.platform} ${process.arch}`,
    versions: { node: process.versions.node, openssl: process.versions.openssl, 'mesh-ca': VERSION },
  };
}

export function formatMachine(machine: Machine): string {
  const { cpu, cores, pinning, loadBefore, versions, date } = machine;
  const names = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return `${date}, ${cpu}, ${cores} cores (${pinning}), load before ${loadBefore.toFixed(1)}\n${names.join(', ')}\n`;
}
