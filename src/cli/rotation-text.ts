import { countText } from '../text/count-text.ts';
import { spanText } from '../text/span-text.ts';
import { barText } from './bar-text.ts';
import { blockerLines, blockersText } from './blocker-view.ts';
import type { CliIo, CliOutput } from './cli-io.ts';
import {
  beganAt,
  blockersOf,
  isGeneration,
  isRollBack,
  PHASES,
  type Phase,
  phaseOf,
  phasesOf,
  type RotationView,
  type Share,
  shareOf,
} from './rotation-view.ts';
import { showsUnicode } from './shows-unicode.ts';
import { formatPairs } from './table.ts';
import { plainText } from './text.ts';
import { formatDate } from './time-text.ts';

/** How a rotation looks where it is written. */
export interface RotationStyle {
  readonly unicode: boolean;
  bold(text: string): string;
  dim(text: string): string;
  good(text: string): string;
  warn(text: string): string;
}

export async function createRotationStyle(
  output: CliOutput,
  env: CliIo['env'],
  colour: boolean,
): Promise<RotationStyle> {
  const { default: picocolors } = await import('picocolors');
  const { bold, dim, green, yellow } = picocolors.createColors(colour);
  return { unicode: showsUnicode(output, env), bold, dim, good: green, warn: yellow };
}

/** Below the bars, so that a terminal of 24 lines shows them all. */
const BLOCKERS_BESIDE_BARS = 5;
const NAME_WIDTH = Math.max(...PHASES.map(({ length }) => length));

/** `rotating mesh default from ca-1 to vault-1` */
export function subjectOf(view: RotationView): string {
  const { from = '?', to = '?' } = view;
  const mesh = `mesh ${plainText(view.mesh)}`;
  const names = { from: plainText(from), to: plainText(to) };
  if (isRollBack(view))
    return `rolling ${mesh} back to ${isGeneration(view) ? `the old root of ${names.from}` : names.from}`;
  return isGeneration(view)
    ? `renewing the root of ${names.to} in ${mesh}`
    : `rotating ${mesh} from ${names.from} to ${names.to}`;
}

/** What a terminal shows while it goes on: a bar for each phase, and who is waited for. */
export function liveLines(view: RotationView, now: Date, style: RotationStyle): string[] {
  const { startedAt } = view;
  const lasts = startedAt === undefined ? '' : `, ${spanText(now.getTime() - Date.parse(startedAt))}`;
  return [
    style.bold(`${subjectOf(view)}${lasts}`),
    ...phasesOf(view).map((phase, index) => phaseLine(view, phase, index, style)),
    ...problemLines(view, style),
    ...blockerLines(blockersOf(view), now, { indent: '', most: BLOCKERS_BESIDE_BARS }),
  ];
}

function phaseLine(view: RotationView, phase: Phase, index: number, style: RotationStyle): string {
  const present = phaseOf(view);
  const name = phase.padEnd(NAME_WIDTH);
  const phases: readonly string[] = PHASES;
  const presentAt = present === 'done' ? phases.length : phases.indexOf(present);
  if (index < presentAt)
    return `${style.good(style.unicode ? '✓' : '+')} ${name}  ${lastedText(view, phase)}`.trimEnd();
  if (phase !== present) return style.dim(`  ${phase}`);
  const paused = view.state === 'paused' ? style.warn('  paused') : '';
  const { done, of, words } = shareOf(view, phase) ?? { done: 0, of: 0, words: '' };
  const count = `${String(done).padStart(String(of).length)} of ${of} ${words}`;
  const eta = view.state === 'paused' ? '' : etaText(view, ', ');
  return `${style.bold('>')} ${name}  ${style.good(barText(done, of, style.unicode))}  ${count}${eta}${paused}`;
}

/** How long a phase that is over has taken; empty when that is not known. */
function lastedText(view: RotationView, phase: string): string {
  const { steps } = view;
  if (isRollBack(view)) return '';
  const index = steps.findLastIndex(({ state }) => state === phase);
  const next = steps.slice(index + 1).find(({ state }) => state !== 'paused');
  const from = Date.parse(steps[index]?.at ?? '');
  const to = Date.parse(next?.at ?? '');
  return Number.isNaN(to - from) ? '' : spanText(to - from);
}

function etaText({ etaSeconds }: RotationView, before: string): string {
  return etaSeconds === undefined || etaSeconds <= 0 ? '' : `${before}about ${spanText(etaSeconds * 1000)} left`;
}

function problemLines({ state, problem }: RotationView, { warn }: RotationStyle): string[] {
  if (problem === undefined) return [];
  return [`${warn(state === 'paused' ? 'paused:' : 'waiting:')} ${plainText(problem)}`];
}

/** The same on one line, for logs: `switching: 64 of 118 use a certificate of the new CA, about 40 s left; waiting for web-3: …` */
export function logText(view: RotationView): string {
  const share = shareOf(view, phaseOf(view));
  const counted = share === undefined ? '' : `: ${countOf(share)}${etaText(view, ', ')}`;
  const blockers = blockersText(blockersOf(view));
  return [
    `${stateText(view)}${counted}`,
    ...(view.problem === undefined ? [] : [plainText(view.problem)]),
    ...(blockers === '' ? [] : [`waiting for ${blockers}`]),
  ].join('; ');
}

const countOf = ({ done, of, words }: Share): string => `${done} of ${of} ${words}`;

/** All there is to know of it at one moment, and what may be typed next. */
export function summaryText(view: RotationView, now: Date, style: RotationStyle): string {
  const { dataplanes, options, from = '', to = '', startedAt, finishedAt, problem } = view;
  const { state } = view;
  const began = beganAt(view, state);
  const share = shareOf(view, phaseOf(view));
  const flags = [
    ...(options?.maxPerSecond === undefined
      ? []
      : [`at most ${countText(options.maxPerSecond, 'certificate')} a second`]),
    ...(options?.keepOld ? ['the old backend stays'] : []),
    ...(options?.immediate ? ['immediate'] : []),
  ];
  const rows: (readonly [string, string])[] = [
    ['MESH', view.mesh],
    [
      'STATE',
      `${stateText(view)}${began === undefined ? '' : sinceText(state, spanText(now.getTime() - began.getTime()))}`,
    ],
    ...(from === '' && to === ''
      ? []
      : [['BACKENDS', isGeneration(view) ? `${to}, to its next root` : `${from} -> ${to}`] as const]),
    ...(startedAt === undefined ? [] : [['STARTED', formatDate(startedAt)] as const]),
    ...(finishedAt === undefined ? [] : [['FINISHED', formatDate(finishedAt)] as const]),
    ...(flags.length === 0 ? [] : [['OPTIONS', flags.join(', ')] as const]),
    ['DATA PLANES', `${dataplanes.online} of ${dataplanes.total} are online`],
    ...countRows(view),
    ...(share === undefined ? [] : [['PROGRESS', `${countOf(share)}${etaText(view, ', ')}`] as const]),
    ...(problem === undefined ? [] : [['PROBLEM', problem] as const]),
  ];
  return [
    formatPairs(rows.map(([name, value]) => [style.bold(name), plainText(value)])),
    ...blockerLines(blockersOf(view), now, { indent: '' }).map((line) => `${line}\n`),
    `next: ${nextText(view)}\n`,
  ].join('');
}

const sinceText = (state: string, span: string): string => (state === 'done' ? ` ${span} ago` : ` for ${span}`);

function stateText(view: RotationView): string {
  const { state, step = '?' } = view;
  if (state === 'idle') return 'idle: no rotation is under way';
  if (state === 'paused') return `paused while ${plainText(step)}`;
  if (state === 'rolling-back') return `rolling back (${plainText(phaseOf(view))})`;
  return state === 'done' && isRollBack(view) ? 'done: rolled back' : plainText(state);
}

/** Columns that align: how many of those online trust and use what. */
function countRows(view: RotationView): (readonly [string, string])[] {
  const { state, dataplanes } = view;
  const { online, trustingNew, usingNew, usingOld } = dataplanes;
  const width = String(online).length;
  const row = (name: string, count: number) => [name, `${String(count).padStart(width)} of ${online}`] as const;
  const counts = [row('TRUST NEW CA', trustingNew), row('USE NEW CA', usingNew), row('USE OLD CA', usingOld)];
  if (state !== 'idle') return counts;
  return [...(view.to === undefined ? [] : counts), ['NEXT STEP', stepText(view)]];
}

/** What may be done next to the Mesh, step by step. */
function stepText({ from = '', to, enabledBackend, canSwitch, canRemoveOld }: RotationView): string {
  if (canSwitch) return `${to} may become the enabled backend`;
  if (canRemoveOld) return `${from} may be removed`;
  if (enabledBackend === undefined) return 'enable a backend: mTLS is off';
  if (to === undefined) return 'add a backend to rotate to';
  const step = enabledBackend === to ? `${from} may be removed` : `${to} may become the enabled backend`;
  return `${step} once nobody is waited for`;
}

/** The commands that make sense now. */
export function nextText(view: RotationView): string {
  const { state } = view;
  const name = plainText(view.mesh);
  const command = `mesh-ca rotate ${name}`;
  switch (state) {
    case 'idle':
      return nextStepText(view, command);
    case 'done':
      return `mesh-ca inspect dataplanes -m ${name}`;
    case 'paused':
      return `${command} --resume, or ${command} --rollback`;
    case 'rolling-back':
      return `${command} --watch`;
    default:
      return `${command} --watch, --pause or --rollback${wayOutText(view)}`;
  }
}

/** With what went wrong after it; without, it is under way. */
const FAILED_PROOF = /^a proof of backend "[^"]*": /;

/** What ends a wait that may last, or tells more of it. */
function wayOutText(view: RotationView): string {
  const { mesh, to = '?', from = '?', state, blockers } = view;
  if (
    state === 'trusting' &&
    blockers.some(({ dataplane, waitingFor }) => dataplane === '' && FAILED_PROOF.test(waitingFor))
  )
    return `; mesh-ca validate ${plainText(mesh)} --backend ${plainText(to)} tells what is wrong with it`;
  if (state !== 'draining' || isGeneration(view) || blockers.length === 0) return '';
  return `; --keep-old ends it now and leaves ${plainText(from)} in the mesh, --immediate does not wait for who is offline`;
}

function nextStepText(view: RotationView, command: string): string {
  const { from = '', to, enabledBackend, mesh, canSwitch, canRemoveOld } = view;
  const edit = `mesh-ca get mesh ${plainText(mesh)} -o yaml > mesh.yaml, edit it, mesh-ca apply -f mesh.yaml`;
  if (canSwitch) return `${command} --to ${plainText(to ?? 'BACKEND')}, or set enabledBackend to it: ${edit}`;
  if (canRemoveOld) return `take ${plainText(from)} out of the mesh: ${edit}`;
  if (enabledBackend === undefined) return `set mtls.enabledBackend: ${edit}`;
  if (to === undefined) return `add a backend (${edit}), then ${command} --to BACKEND`;
  return enabledBackend === to
    ? `${command}, until nobody is waited for`
    : `${command} --to ${plainText(to)}, which waits for them; or ${command}, until nobody is waited for`;
}

/** What has come of it, how long each phase took, and what may be typed next. */
export function endText(view: RotationView, style: RotationStyle): string {
  const { from = '?', to = '?', startedAt, finishedAt, dataplanes, options } = view;
  const mesh = `mesh ${plainText(view.mesh)}`;
  const [old, now] = isRollBack(view) ? [to, from] : [from, to];
  const rest = isRollBack(view)
    ? `${plainText(old)} stays in the mesh`
    : options?.keepOld
      ? `${plainText(old)} was kept`
      : `${plainText(old)} is removed`;
  const what = isGeneration(view)
    ? isRollBack(view)
      ? `${mesh} uses the old root of ${plainText(now)} again`
      : `${mesh} uses the new root of ${plainText(now)}`
    : `${mesh} uses ${plainText(now)}${isRollBack(view) ? ' again' : ''}; ${rest}`;
  const wholeMs = Date.parse(finishedAt ?? '') - Date.parse(startedAt ?? '');
  const phases = PHASES.flatMap((phase) => {
    const lasted = lastedText(view, phase);
    return lasted === '' ? [] : [`${phase} ${lasted}`];
  });
  const took = [
    countText(dataplanes.total, 'data plane'),
    ...(Number.isNaN(wholeMs) ? [] : [`${spanText(wholeMs)}${phases.length === 0 ? '' : ` (${phases.join(', ')})`}`]),
  ];
  return `${style.good(style.unicode ? '✓' : '+')} ${style.bold(what)}\n${took.join(', ')}\nnext: ${nextText(view)}\n`;
}
