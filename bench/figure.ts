/** One line of the table: what was measured of one subject. What does not apply is absent. */
export interface Measurement {
  readonly name: string;
  readonly certificatesPerSecond?: number;
  /** Of one answer, as the client sees it; every connection always waits for one. */
  readonly p50Ms?: number;
  readonly p99Ms?: number;
  /** User and system time of all threads of the servers. Absent where there is no /proc. */
  readonly cpuSecondsPer1000?: number;
  readonly rssMb?: number;
  readonly peakRssMb?: number;
  readonly readyMs?: number;
  /** Anything else worth keeping in the result file. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** One number made of measurements, with the target it has. */
export interface Comparison {
  readonly name: string;
  readonly value: number;
  readonly unit: '%' | 'times' | 'ms' | 'MB' | '/s' | '';
  readonly target?: { readonly over: number } | { readonly under: number };
}

/** What one file of `bench/figures` gives, and one file of `bench/results` holds. */
export interface Figure {
  readonly name: string;
  readonly measurements: readonly Measurement[];
  readonly comparisons: readonly Comparison[];
}

export type Verdict = 'met' | 'missed';

/** Undefined when there is no target. */
export function verdictOf({ value, target }: Comparison): Verdict | undefined {
  if (target === undefined) return undefined;
  const met = 'over' in target ? value > target.over : value < target.under;
  return met ? 'met' : 'missed';
}

/** `part` of `whole`, as a comparison in percent; nothing when one of them was not measured. */
export function shareOf(
  name: string,
  part: number | undefined,
  whole: number | undefined,
  target?: Comparison['target'],
): Comparison[] {
  if (part === undefined || whole === undefined) return [];
  return [{ name, value: (100 * part) / whole, unit: '%', ...(target === undefined ? {} : { target }) }];
}

/** How many times `less` goes into `more`; nothing when one of them was not measured. */
export function timesOf(
  name: string,
  more: number | undefined,
  less: number | undefined,
  target?: Comparison['target'],
): Comparison[] {
  if (more === undefined || less === undefined) return [];
  return [{ name, value: more / less, unit: 'times', ...(target === undefined ? {} : { target }) }];
}
