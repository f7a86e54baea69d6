import { readFileSync } from 'node:fs';

/** Of one process with all its threads. */
export interface Usage {
  /** User and system time since its start. */
  readonly cpuSeconds: number;
  readonly rssMb: number;
  readonly peakRssMb: number;
}

/** Linux counts CPU time of a process in these on every architecture. */
const TICKS_PER_SECOND = 100;
/** Fields of /proc/<pid>/stat after the command name, which may itself hold blanks and parentheses. */
const UTIME = 11;
const STIME = 12;

/** Undefined where there is no /proc, or no such process. */
export function readUsage(pid: number): Usage | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    return {
      cpuSeconds: (Number(fields[UTIME]) + Number(fields[STIME])) / TICKS_PER_SECOND,
      rssMb: megabytes(status, 'VmRSS'),
      peakRssMb: megabytes(status, 'VmHWM'),
    };
  } catch {
    return undefined;
  }
}

function megabytes(status: string, name: string): number {
  const kibibytes = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1];
  return Number(kibibytes ?? Number.NaN) / 1024;
}

/** CPU seconds that the processes used between two looks; undefined when it is not known of one of them. */
export function cpuSecondsBetween(
  before: readonly (Usage | undefined)[],
  after: readonly (Usage | undefined)[],
): number | undefined {
  let sum = 0;
  for (const [index, usage] of after.entries()) {
    const earlier = before[index];
    if (usage === undefined || earlier === undefined) return undefined;
    sum += usage.cpuSeconds - earlier.cpuSeconds;
  }
  return sum;
}
