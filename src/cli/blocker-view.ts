import { z } from 'zod';
import { countText } from '../text/count-text.ts';
import { spanText } from '../text/span-text.ts';
import { formatTable } from './table.ts';
import { plainText } from './text.ts';

/** Who stands in the way of a step of a rotation (API.md, "Rotation"). */
export const blockerSchema = z.looseObject({
  /** '': it is no single data plane. */
  dataplane: z.string().default(''),
  zone: z.string().default(''),
  waitingFor: z.string().default(''),
  since: z.string().optional().catch(undefined),
});
export type BlockerView = z.output<typeof blockerSchema>;

/** The first of those who are not ready, and how many there are. */
export interface Blockers {
  readonly first: readonly BlockerView[];
  readonly total: number;
}

/** Nobody reads more lines, and a terminal shows no more. */
const MOST_TOLD = 10;

/** `waiting for 12 data planes; the first 10:` and a table of them; nothing when nobody is waited for. The zone is told where one is known. */
export function blockerLines(
  { first, total }: Blockers,
  now: Date,
  { indent, most = MOST_TOLD }: { readonly indent: string; readonly most?: number },
): string[] {
  const told = first.slice(0, most);
  if (told.length === 0) return [];
  const all = Math.max(total, told.length);
  const withZone = told.some(({ zone }) => zone !== '');
  const cells = (name: string, zone: string, ...rest: string[]) => [name, ...(withZone ? [zone] : []), ...rest];
  const table = formatTable(
    cells('DATA PLANE', 'ZONE', 'WAITING FOR', 'SINCE'),
    told.map(({ dataplane, zone, waitingFor, since }) =>
      cells(plainText(dataplane) || '-', plainText(zone), plainText(waitingFor), sinceText(since, now)),
    ),
  );
  const part = all === told.length ? '' : told.length === 1 ? '; one of them' : `; the first ${told.length}`;
  const head = `waiting for ${whom(told, all)}${part}:`;
  return [
    head,
    ...table
      .trimEnd()
      .split('\n')
      .map((line) => `  ${line}`),
  ].map((line) => indent + line);
}

/** On one line: `web-3: trust bundle 7 (has 6), and 11 more`. Empty when nobody is waited for. */
export function blockersText({ first, total }: Blockers): string {
  const [one] = first;
  if (one === undefined) return '';
  const what = [plainText(one.dataplane), plainText(one.waitingFor)].filter(Boolean).join(': ');
  return total > 1 ? `${what}, and ${total - 1} more` : what;
}

function whom(told: readonly BlockerView[], total: number): string {
  return told.some(({ dataplane }) => dataplane === '') ? countText(total, 'thing') : countText(total, 'data plane');
}

/** How long ago; the clocks of two machines differ a little, so what is yet to come is now. */
function sinceText(at: string | undefined, now: Date): string {
  const ms = Date.parse(at ?? '');
  return Number.isNaN(ms) ? '-' : spanText(now.getTime() - ms);
}
