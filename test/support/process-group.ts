import { readdir, readFile } from 'node:fs/promises';

/** Command lines of the processes of a group that still run (Linux). What has ended and only waits to be noticed does not count. */
export async function findProcessesOfGroup(group: number): Promise<string[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(pids.map((pid) => describeIfOf(pid, group).catch(() => undefined)));
  return found.filter((one) => one !== undefined);
}

/** proc(5): `pid (name) state ppid pgrp ...`; the name may hold anything, parentheses and blanks among it. */
async function describeIfOf(pid: string, group: number): Promise<string | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  const [state, , processGroup] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  if (Number(processGroup) !== group || state === 'Z') return undefined;
  const commandLine = (await readFile(`/proc/${pid}/cmdline`, 'utf8')).replaceAll('\0', ' ').trim();
  return `${pid} ${commandLine}`;
}
