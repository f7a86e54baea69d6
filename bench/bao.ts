import { readdirSync, readFileSync } from 'node:fs';
import { type StartedOpenBao, startOpenBao } from '../testcontainers/openbao.ts';
import type { Bench } from './bench.ts';

export interface Bao extends StartedOpenBao {
  /** 0 where there is no /proc. */
  readonly pid: number;
  readonly version: string;
}

/** An OpenBao of our own on the servers' core, storage in memory. */
export async function startBao({ cores, cleanup }: Pick<Bench, 'cores' | 'cleanup'>): Promise<Bao> {
  // One that somebody else runs says nothing about its CPU time.
  delete process.env.MESH_CA_TEST_VAULT_ADDR;
  const before = new Set(childPids());
  const bao = await cores.forServers(() => startOpenBao());
  cleanup.add(bao.close);
  const pid = childPids().find((child) => !before.has(child)) ?? 0;
  const { body } = await bao.request('GET', 'sys/health');
  const version = typeof body === 'object' && body !== null ? String(Reflect.get(body, 'version')) : 'unknown';
  return { ...bao, pid, version };
}

/** Processes whose parent is this one. */
function childPids(): number[] {
  try {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
      .filter((pid) => parentOf(pid) === process.pid);
  } catch {
    return [];
  }
}

function parentOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return undefined;
  }
}
