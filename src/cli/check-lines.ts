import { countText } from '../text/count-text.ts';
import type { CliIo, CliOutput } from './cli-io.ts';
import type { BackendView, CheckView } from './proof-view.ts';
import { showsUnicode } from './shows-unicode.ts';
import { displayWidth, plainText } from './text.ts';

type Status = 'passed' | 'warning' | 'failed' | 'skipped';
type Marks = Readonly<Record<Status, string>>;

const MARKS: Marks = { passed: '✓', warning: '!', failed: '✗', skipped: '-' };
const ASCII_MARKS: Marks = { passed: '+', warning: '!', failed: 'x', skipped: '-' };
/** Space between the name of a check and what was found. */
const GAP = 2;

/** How checks look where they are written. */
export interface CheckStyle {
  /** The mark of a status, coloured; what this version does not know gets a question mark. */
  mark(status: string): string;
  bold(text: string): string;
  dim(text: string): string;
  fix(text: string): string;
}

export async function createCheckStyle(output: CliOutput, env: CliIo['env'], colour: boolean): Promise<CheckStyle> {
  const { default: picocolors } = await import('picocolors');
  const { green, yellow, red, dim, bold } = picocolors.createColors(colour);
  const marks = showsUnicode(output, env) ? MARKS : ASCII_MARKS;
  const colours: Readonly<Record<Status, (text: string) => string>> = {
    passed: green,
    warning: yellow,
    failed: red,
    skipped: dim,
  };
  const isStatus = (status: string): status is Status => Object.hasOwn(marks, status);
  return { mark: (status) => (isStatus(status) ? colours[status](marks[status]) : '?'), bold, dim, fix: green };
}

/**
 * A line for each check, cause and fix below those that are not well; names in a column. Those that wait for a failed one stand at the end, by name only,
 * below a line that says what they wait for. `indent` stands before each line.
 */
export function formatChecks(checks: readonly CheckView[], style: CheckStyle, indent: string): string {
  const looked = checks.filter(({ dependsOn }) => dependsOn === undefined);
  const width = Math.max(0, ...looked.map((check) => displayWidth(nameOf(check))));
  const lines = looked.flatMap((check) => {
    const { status, message, cause, fix } = check;
    const name = nameOf(check);
    const told = `${name}${' '.repeat(width - displayWidth(name) + GAP)}${plainText(message)}`;
    const line = `${indent}${style.mark(status)} ${status === 'skipped' ? style.dim(told) : told}`;
    if (status === 'passed' || status === 'skipped') return [line];
    return [
      line,
      ...(cause === undefined || cause === message ? [] : [`${indent}    ${style.dim('cause:')} ${plainText(cause)}`]),
      ...(fix === undefined ? [] : [`${indent}    ${style.fix('fix:')} ${plainText(fix)}`]),
    ];
  });
  return [...lines, ...formatWaiting(checks, style, indent)].map((line) => `${line}\n`).join('');
}

const nameOf = ({ backend, name }: CheckView): string =>
  plainText(backend === undefined ? name : `${backend}: ${name}`);

function formatWaiting(checks: readonly CheckView[], style: CheckStyle, indent: string): string[] {
  const failed = new Set(checks.flatMap(({ dependsOn }) => dependsOn ?? []));
  return [...failed].flatMap((name) => [
    `${indent}${style.dim(`not looked at until ${plainText(name)} has passed:`)}`,
    ...checks
      .filter(({ dependsOn }) => dependsOn === name)
      .map((check) => `${indent}${style.mark('skipped')} ${style.dim(nameOf(check))}`),
  ]);
}

/** `vault-1 (vault) in mesh default   ✗ 2 of 24 checks failed, 812 ms`, and its checks. */
export function formatBackend({ backend, type, mesh, checks, durationMs, ok }: BackendView, style: CheckStyle): string {
  const head = `${style.bold(plainText(backend))} (${plainText(type)}) in mesh ${plainText(mesh)}`;
  const warns = checks.some(({ status }) => status === 'warning');
  const mark = style.mark(ok ? (warns ? 'warning' : 'passed') : 'failed');
  return `${head}   ${mark} ${count(checks)}, ${formatMs(durationMs)}\n${formatChecks(checks, style, '  ')}`;
}

function count(checks: readonly CheckView[]): string {
  const of = (wanted: Status) => checks.filter(({ status }) => status === wanted).length;
  const [passed, warnings, failed, skipped] = [of('passed'), of('warning'), of('failed'), of('skipped')];
  const all = countText(checks.length, 'check');
  const first =
    failed > 0
      ? `${failed} of ${all} failed`
      : passed === checks.length
        ? `${all} passed`
        : `${passed} of ${all} passed`;
  return [
    first,
    ...(warnings === 0 ? [] : [countText(warnings, 'warning')]),
    ...(skipped === 0 ? [] : [`${skipped} skipped`]),
  ].join(', ');
}

const formatMs = (ms: number): string => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);
