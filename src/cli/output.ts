import type { ClientContext } from './client-options.ts';
import { formatTable } from './table.ts';

export type OutputFormat = 'table' | 'json' | 'yaml';

/** JSON or YAML of a value; undefined for tables. */
export async function formatValue(value: unknown, format: OutputFormat): Promise<string | undefined> {
  if (format === 'json') return `${JSON.stringify(value, null, 2).replace(OBEYED, escapeUnits)}\n`;
  if (format === 'yaml') return (await import('yaml')).stringify(value);
  return undefined;
}

/** What JSON lets stand as it is, though terminals obey it, or turn text around by it. */
const OBEYED = /[\u007f-\u009f\p{Cf}\p{Zl}\p{Zp}]/gu;

const escapeUnits = (sign: string) =>
  sign
    .split('')
    .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
    .join('');

export interface TableContent {
  readonly headers: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** Prints `value` in the format that was asked for; a table is made only when needed. */
export async function print(context: ClientContext, value: unknown, toTable: () => TableContent): Promise<void> {
  const text = await formatValue(value, context.output);
  if (text !== undefined) {
    context.io.stdout.write(text);
    return;
  }
  const { headers, rows } = toTable();
  const bold = await boldWhere(context.colour);
  context.io.stdout.write(formatTable(headers.map(bold), rows));
}

export async function boldWhere(colour: boolean): Promise<(text: string) => string> {
  if (!colour) return (text) => text;
  const { default: picocolors } = await import('picocolors');
  return picocolors.createColors(true).bold;
}
