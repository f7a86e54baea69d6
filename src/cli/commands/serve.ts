import { type Command, Option } from 'commander';
import type { Log } from '../../runtime/log.ts';
import { loadSettings, type Settings, showDefault } from '../../runtime/settings.ts';
import { SETTING_KEYS, SETTINGS, type SettingRow, settingNames } from '../../runtime/settings-table.ts';
import { CliError } from '../cli-error.ts';
import type { CliIo } from '../cli-io.ts';
import { typedClientOptions, usage } from '../client-options.ts';
import { EXIT } from '../exit-code.ts';

/** What `serve` needs of a started service. */
export interface RunningApp {
  /** Of the HTTP API: `http://127.0.0.1:5681`. */
  readonly address: string;
  /** Every address, by what it serves. */
  readonly addresses: Readonly<Record<string, string>>;
  /** Takes no new request, lets those under way finish, then frees everything. */
  close(): Promise<void>;
}

export type StartApp = (settings: Settings, deps: { readonly log: Log }) => Promise<RunningApp>;

const MAX_CONFIG_BYTES = 512 * 1024;
/** The flags are long: what commander takes for a pipe leaves no room beside them. */
const HELP_WIDTH = 140;
/** `close` itself keeps to the shutdown timeout; this is for writing down what is left, and a guard against waiting for ever. */
const CLOSE_GRACE_MS = 5000;
/** As shells tell it: 128 + SIGINT. */
const EXIT_ON_SECOND_SIGNAL = 130;

/** `mesh-ca serve` */
export function configureServe(command: Command, io: CliIo, startApp: StartApp = startRealApp): void {
  command.configureHelp({ helpWidth: HELP_WIDTH });
  command.option('--config <file>', 'YAML file with settings (env: MESH_CA_CONFIG)');
  for (const key of SETTING_KEYS) {
    const { flag, env, option } = settingNames(key);
    const row: SettingRow = SETTINGS[key];
    const added = new Option(
      `${flag} <value>`,
      `${row.doc} Expected: ${row.form} (env: ${env}; default: ${showDefault(key)})`,
    );
    if (row.list) added.argParser((text: string, previous: string[] | undefined) => [...(previous ?? []), text]);
    if (added.attributeName() !== option) throw new TypeError(`flag ${flag} does not give option ${option}`);
    command.addOption(added);
  }
  command
    .addHelpText(
      'after',
      '\nFlags count over the environment, and that over the file, whose keys are the flags in camelCase (`apiPort: 5681`).',
    )
    .action((flags: Record<string, unknown>) => {
      const foreign = command.parent === null ? [] : typedClientOptions(command.parent);
      if (foreign.length > 0) throw usage(`serve takes no ${foreign.join(', ')}`, 'see mesh-ca serve --help');
      return serve(flags, io, startApp);
    });
}

async function serve(flags: Record<string, unknown>, io: CliIo, startApp: StartApp): Promise<void> {
  const { monotonicMs } = io.clock;
  const startedMs = monotonicMs();
  const settings = await readSettings(flags, io);
  const { createLog } = await import('../../runtime/create-log.ts');
  const log = createLog({ level: settings.logLevel, destination: io.log });
  io.onFatal((error) => {
    log.error({ err: error }, 'mesh-ca ends: an error that nobody expected');
    io.exit(EXIT.unexpected);
  });
  const stop = stopSignal(io);
  const app = await startApp(settings, { log });
  log.info(
    { address: app.address, addresses: app.addresses, startMs: Math.round(monotonicMs() - startedMs) },
    'mesh-ca is ready',
  );
  await stop;
  log.info({ shutdownTimeoutMs: settings.shutdownTimeoutMs }, 'mesh-ca stops: answers under way are finished');
  await closeInTime(app, settings.shutdownTimeoutMs, io);
  log.info({}, 'mesh-ca has stopped');
}

async function readSettings(flags: Record<string, unknown>, io: CliIo): Promise<Settings> {
  const { config, ...others } = flags;
  const file = typeof config === 'string' ? config : io.env.MESH_CA_CONFIG;
  if (file === undefined) return loadSettings({ flags: others, env: io.env });
  const { readFileText } = await import('../read-file-text.ts');
  const fileText = await readFileText(file, MAX_CONFIG_BYTES, 'the settings').catch((error: unknown) => {
    if (!(error instanceof CliError)) throw error;
    throw new CliError(error.message, {
      exitCode: EXIT.operator,
      why: error.why,
      fix: 'correct --config or MESH_CA_CONFIG',
    });
  });
  return loadSettings({ flags: others, env: io.env, fileText });
}

/** Resolves at the first signal; the second one ends the process at once. */
function stopSignal(io: CliIo): Promise<void> {
  return new Promise((resolve) => {
    let stopping = false;
    io.onStopSignal(() => {
      if (stopping) io.exit(EXIT_ON_SECOND_SIGNAL);
      stopping = true;
      resolve();
    });
  });
}

async function closeInTime(app: RunningApp, timeoutMs: number, io: CliIo): Promise<void> {
  const deadline = io.clock.deadline(timeoutMs + CLOSE_GRACE_MS);
  const late = new Promise<never>((_, reject) => {
    deadline.signal.addEventListener('abort', () =>
      reject(
        new CliError(`mesh-ca did not stop within ${timeoutMs + CLOSE_GRACE_MS} ms`, {
          exitCode: EXIT.unexpected,
          why: ['what it holds open could not be closed'],
          fix: 'please report it; nothing that was answered is lost',
        }),
      ),
    );
  });
  try {
    await Promise.race([app.close(), late]);
  } finally {
    deadline.clear();
  }
}

const startRealApp: StartApp = async (settings, deps) => {
  const { startApp } = await import('../../app.ts');
  return startApp(settings, deps);
};
