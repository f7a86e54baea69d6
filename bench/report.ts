import { mkdir, rename, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { formatTable } from '../src/cli/table.ts';
import { type Comparison, type Figure, type Measurement, verdictOf } from './figure.ts';
import type { Machine } from './machine.ts';

const RESULTS = new URL('./results/', import.meta.url);

const HEADERS = [
  'FIGURE',
  'CERTS/S',
  'P50 MS',
  'P99 MS',
  'CPU S/1000',
  'RSS MB',
  'PEAK MB',
  'READY MS',
  'RATIO',
  'TARGET',
  'RESULT',
];

const PLACES = { '%': 0, times: 2, ms: 2, MB: 0, '/s': 1, '': 0 } as const;

/** One table: what was measured, and below each figure what follows from it. */
export function formatFigures(figures: readonly Figure[]): string {
  const rows = figures.flatMap(({ measurements, comparisons }) => [
    ...measurements.map(measurementRow),
    ...comparisons.map(comparisonRow),
  ]);
  return formatTable(HEADERS, rows);
}

function measurementRow(measured: Measurement): string[] {
  return [
    measured.name,
    digits(measured.certificatesPerSecond, 0),
    digits(measured.p50Ms, 1),
    digits(measured.p99Ms, 1),
    digits(measured.cpuSecondsPer1000, 3),
    digits(measured.rssMb, 0),
    digits(measured.peakRssMb, 0),
    digits(measured.readyMs, 0),
  ];
}

function comparisonRow(comparison: Comparison): string[] {
  const { name, value, unit, target } = comparison;
  const blanks = ['', '', '', '', '', '', ''];
  const wanted =
    target === undefined ? '' : 'over' in target ? `> ${target.over} ${unit}` : `< ${target.under} ${unit}`;
  return [`- ${name}`, ...blanks, `${value.toFixed(PLACES[unit])} ${unit}`, wanted, verdictOf(comparison) ?? ''];
}

const digits = (value: number | undefined, places: number): string =>
  value === undefined
    ? ''
    : value.toLocaleString('en', { minimumFractionDigits: places, maximumFractionDigits: places });

/** `bench/results/<figure>.json`, and `table.txt` when given; each file is written whole or not at all. */
export async function writeResults(
  figures: readonly Figure[],
  machine: Machine,
  table: string | undefined,
): Promise<void> {
  if (table !== undefined) await writeWhole('table.txt', table);
  for (const figure of figures) {
    const comparisons = figure.comparisons.map((comparison) => ({ ...comparison, result: verdictOf(comparison) }));
    const text = JSON.stringify({ ...figure, comparisons, machine }, rounded, 2);
    await writeWhole(`${figure.name}.json`, `${text}\n`);
  }
}

/** A file of `bench/results`, written whole or not at all. */
export async function writeWhole(name: string, text: string): Promise<void> {
  await mkdir(RESULTS, { recursive: true });
  const file = fileURLToPath(new URL(name, RESULTS));
  await writeFile(`${file}.tmp`, text);
  await rename(`${file}.tmp`, file);
}

/** Four digits say all that a measurement knows. */
export function rounded(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value;
}
