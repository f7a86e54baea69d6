import { type Command, InvalidArgumentError } from 'commander';
import { CliError, ToldFailure } from '../cli-error.ts';
import type { CliIo } from '../cli-io.ts';
import { type ClientContext, readMesh, usage, withClient } from '../client-options.ts';
import { EXIT, type ExitCode } from '../exit-code.ts';
import { formatValue } from '../output.ts';
import { withProgress } from '../progress.ts';
import { resourcePath } from '../resource-views.ts';
import { createRotationReport } from '../rotation-report.ts';
import { createRotationStyle, endText, nextText, summaryText } from '../rotation-text.ts';
import {
  blockersOf,
  type Ending,
  endingOf,
  exitCodeOfEnding,
  isRollBack,
  type RotationView,
  rotationSchema,
} from '../rotation-view.ts';
import { plainText } from '../text.ts';
import { watchRotation } from '../watch-rotation.ts';
import { explainMissing, requireKind } from './get.ts';

interface RotateOptions {
  readonly to?: string;
  readonly keepOld?: boolean;
  readonly maxPerSecond?: number;
  readonly immediate?: boolean;
  readonly pause?: boolean;
  readonly resume?: boolean;
  readonly rollback?: boolean;
  readonly watch?: boolean;
  /** False: `--no-wait`. */
  readonly wait: boolean;
}

/** What the API takes; absent fields stay as they are. */
interface RotationChange {
  readonly to: string;
  readonly keepOld?: boolean;
  readonly maxPerSecond?: number;
  readonly immediate?: boolean;
  readonly paused?: boolean;
}

const MESH = requireKind('mesh', 'singular');
/** The server's bound. */
const MOST_PER_SECOND = 10_000;

const IMMEDIATE = `--immediate is for a CA whose key is in the wrong hands:
  - every certificate is made anew at once, not spread over time: the backend gets all requests together
  - data planes that are offline are not waited for: until they have fetched bundle and certificate anew, nobody trusts theirs
  - data planes that are online are still waited for until they trust the new CA: nothing that runs is cut off
`;

/** `mesh-ca rotate [MESH]` */
export function configureRotate(command: Command, io: CliIo): void {
  command
    .argument('[mesh]', 'the mesh; or name it with -m')
    .option('--to <backend>', 'rotate to this backend of the mesh; the enabled one, if builtin: to its next root')
    .option('--keep-old', 'leave the old backend in the mesh')
    .option('--max-per-second <number>', 'certificates made anew in a second (default: 50)', readRate)
    .option('--immediate', 'the CA is compromised: spread nothing, wait for nobody who is offline')
    .option('--no-wait', 'do not watch until it is done')
    .option('--watch', 'watch the one that is under way')
    .option('--pause', 'change nothing and make nothing anew until it is resumed')
    .option('--resume', 'go on after a pause')
    .option('--rollback', 'go back to the backend that it came from')
    .addHelpText(
      'after',
      `
Without an option it shows how far the rotation is, and who is waited for. With --to it takes all steps by itself: every online data
plane has to trust the new CA before any uses it, and nobody may use the old one before it is removed. Ctrl-C ends the watching only.
--keep-old, --max-per-second and --immediate change the rotation that is under way, if --to is not given. docs/rotation.md tells all.

Exit code: 0 when it is done, 4 when it is paused, rolled back by somebody, no longer watched, or mesh-ca has not answered for 2 minutes,
5 when it paused by itself and somebody has to look.

Examples:
  mesh-ca rotate default
  mesh-ca rotate default --to vault-1
  mesh-ca rotate default --max-per-second 200 --no-wait
  mesh-ca rotate default --rollback`,
    )
    .action((name: string | undefined, options: RotateOptions) => {
      const act = chooseAction(options);
      return withClient(command, io, (context) => act({ ...context, mesh: readMesh(command, name) }));
    });
}

type Action = (context: ClientContext) => Promise<void>;

/** @throws CliError: options that do not go together */
function chooseAction(options: RotateOptions): Action {
  const { to, keepOld, maxPerSecond, immediate, pause, resume, rollback, watch, wait } = options;
  const changes = {
    ...(keepOld === undefined ? {} : { keepOld }),
    ...(maxPerSecond === undefined ? {} : { maxPerSecond }),
    ...(immediate === undefined ? {} : { immediate }),
  };
  const hasChanges = Object.keys(changes).length > 0;
  const actions: readonly (readonly [typed: boolean, flag: string, Action])[] = [
    [to !== undefined, '--to', (context) => start(context, { to: to ?? '', ...changes }, wait)],
    [hasChanges && to === undefined, 'a change', (context) => change(context, changes, wait)],
    [pause === true, '--pause', (context) => change(context, { paused: true }, false)],
    [resume === true, '--resume', (context) => change(context, { paused: false }, wait)],
    [rollback === true, '--rollback', (context) => rollBack(context, wait)],
    [watch === true, '--watch', (context) => watchPresent(context)],
  ];
  const chosen = actions.filter(([typed]) => typed);
  const [first, second] = chosen;
  if (first !== undefined && second !== undefined)
    throw usage(`${first[1]} and ${second[1]} do not go together`, 'type one of them');
  if (watch === true && !wait) throw usage('--watch and --no-wait do not go together', 'type one of them');
  if (first === undefined && !wait) throw usage('--no-wait needs something to do', 'add --to BACKEND');
  return first?.[2] ?? show;
}

async function show(context: ClientContext): Promise<void> {
  await print(context, await read(context));
}

async function start(context: ClientContext, request: RotationChange, wait: boolean): Promise<void> {
  if (request.immediate === true) context.io.stderr.write(IMMEDIATE);
  await follow(context, await put(context, request), 'done', wait);
}

/** Of the rotation that is under way. */
async function change(context: ClientContext, changes: Omit<RotationChange, 'to'>, wait: boolean): Promise<void> {
  const present = await readPresent(context);
  const { to } = present;
  if (to === undefined) throw notUnderWay(context, present);
  if (changes.immediate === true) context.io.stderr.write(IMMEDIATE);
  await follow(context, await put(context, { to, ...changes }), isRollBack(present) ? 'rolled back' : 'done', wait);
}

async function rollBack(context: ClientContext, wait: boolean): Promise<void> {
  await follow(context, await call(context, 'DELETE'), 'rolled back', wait);
}

async function watchPresent(context: ClientContext): Promise<void> {
  const view = await read(context);
  if (view.state === 'idle') throw notUnderWay(context, view);
  await follow(context, view, isRollBack(view) ? 'rolled back' : 'done', true);
}

async function readPresent(context: ClientContext): Promise<RotationView> {
  const view = await read(context);
  if (view.state === 'idle' || view.state === 'done') throw notUnderWay(context, view);
  return view;
}

function notUnderWay({ mesh }: ClientContext, { state }: RotationView): CliError {
  return new CliError(`no rotation of mesh ${mesh} is under way`, {
    exitCode: EXIT.request,
    why: [state === 'done' ? 'the last one is done' : 'none was started'],
    fix: `start one: mesh-ca rotate ${mesh} --to BACKEND`,
  });
}

const read = (context: ClientContext) => call(context, 'GET');
const put = (context: ClientContext, change: RotationChange) => call(context, 'PUT', change);

/** @throws CliError that says what could not be done */
async function call(context: ClientContext, method: 'GET' | 'PUT' | 'DELETE', body?: RotationChange) {
  const { api, io, mesh } = context;
  const path = `${resourcePath(MESH, '', mesh)}/_rotation`;
  const send = () => api.call(rotationSchema, method, path, body === undefined ? {} : { body });
  const failed = {
    GET: `could not read the rotation of mesh ${mesh}`,
    PUT: `could not rotate mesh ${mesh}${body === undefined ? '' : ` to ${body.to}`}`,
    DELETE: `could not roll the rotation of mesh ${mesh} back`,
  }[method];
  try {
    return await (method === 'GET' ? send() : withProgress(io, plainText(`asking mesh-ca to rotate ${mesh}`), send));
  } catch (error) {
    const explained = explainMissing(error, MESH, mesh, mesh);
    throw explained === error && error instanceof CliError && method !== 'GET'
      ? error.within(plainText(failed))
      : explained;
  }
}

/** Watches it until it has ended, or only says that it is under way. */
async function follow(
  context: ClientContext,
  first: RotationView,
  wanted: 'done' | 'rolled back',
  wait: boolean,
): Promise<void> {
  const { io, output } = context;
  if (!wait) {
    await print(context, first);
    return;
  }
  const again = `mesh-ca rotate ${context.mesh} --watch`;
  const style = await createRotationStyle(io.stderr, io.env, context.colour && io.stderr.isTTY);
  const report = createRotationReport(io, style);
  const last = await watchRotation(io, { first, report, again, read: () => read(context) });
  if (last === undefined) {
    io.stderr.write(
      `no longer watched; the rotation of mesh ${context.mesh} goes on\n  to watch it again: ${again}\n  to roll it back: mesh-ca rotate ${context.mesh} --rollback\n`,
    );
    throw new ToldFailure(EXIT.later);
  }
  const ending = endingOf(last) ?? 'gone';
  const exitCode = exitCodeOfEnding(ending, wanted);
  if (output !== 'table' || exitCode === EXIT.ok) await print(context, last, ending);
  if (exitCode !== EXIT.ok) throw failureOf(ending, last, exitCode);
}

async function print({ io, output, colour }: ClientContext, view: RotationView, ending?: Ending): Promise<void> {
  const text = await formatValue(view, output);
  if (text !== undefined) {
    io.stdout.write(text);
    return;
  }
  const style = await createRotationStyle(io.stdout, io.env, colour);
  const isEnd = ending === 'done' || ending === 'rolled back';
  io.stdout.write(isEnd ? endText(view, style) : summaryText(view, io.clock.now(), style));
}

function failureOf(ending: Ending, view: RotationView, exitCode: ExitCode): CliError {
  const mesh = plainText(view.mesh);
  const { problem } = view;
  const what: Readonly<Record<Ending, string>> = {
    done: `the rotation of mesh ${mesh} is done and was not rolled back`,
    'rolled back': `the rotation of mesh ${mesh} was rolled back`,
    paused: `the rotation of mesh ${mesh} is paused`,
    stopped: `the rotation of mesh ${mesh} has paused by itself`,
    gone: `the rotation of mesh ${mesh} is there no more`,
  };
  return new CliError(what[ending], {
    exitCode,
    why: problem === undefined ? [] : [plainText(problem)],
    fix: nextText(view),
    blockers: ending === 'stopped' ? blockersOf(view) : undefined,
  });
}

function readRate(text: string): number {
  const rate = Number(text);
  if (/^\d{1,5}$/.test(text) && rate >= 1 && rate <= MOST_PER_SECOND) return rate;
  throw new InvalidArgumentError(`write a whole number from 1 to ${MOST_PER_SECOND}.`);
}
