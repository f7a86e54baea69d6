import { displayWidth } from './text.ts';

/** Space between two columns, as kumactl prints it. */
const GAP = 3;

/** Lines of a table: headers, then rows, columns aligned, nothing at the ends of lines. Cells may hold colours and wide characters. */
export function formatTable(headers: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [headers, ...rows];
  const widths = headers.map((_, column) =>
    lines.reduce((most, line) => Math.max(most, displayWidth(line[column] ?? '')), 0),
  );
  const pad = (cell: string, column: number) => cell + ' '.repeat((widths[column] ?? 0) - displayWidth(cell) + GAP);
  return lines.map((line) => `${line.map(pad).join('').trimEnd()}\n`).join('');
}

/** Lines of `name   value`. */
export function formatPairs(pairs: readonly (readonly [name: string, value: string])[]): string {
  const width = Math.max(...pairs.map(([name]) => displayWidth(name)));
  return pairs
    .map(([name, value]) => `${`${name}${' '.repeat(width - displayWidth(name) + GAP)}${value}`.trimEnd()}\n`)
    .join('');
}
