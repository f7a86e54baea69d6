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
/** As shells tell it: 128 + SIGINT. */
const EXIT_ON_SECOND_SIGNAL = 130;

/** `mesh-ca serve` */
export function configureServe(command: Command, io: CliIo, startApp: StartApp = startRealApp): void {
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
  const stop = stopSignal(io);
  const app = await startApp(settings, { log }).catch((error: unknown) => {
    throw explainStart(error, settings);
  });
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
  const deadline = io.clock.deadline(timeoutMs);
  const late = new Promise<never>((_, reject) => {
    deadline.signal.addEventListener('abort', () =>
      reject(
        new CliError(`mesh-ca did not stop within ${timeoutMs} ms`, {
          exitCode: EXIT.unexpected,
          why: ['requests under way did not end; their callers get no answer'],
          fix: 'allow more time: --shutdown-timeout 30s',
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

/** Failures at start that an operator can mend. */
function explainStart(error: unknown, { apiHost, apiPort }: Settings): unknown {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  const where = `${apiHost} port ${apiPort}`;
  if (code === 'EADDRINUSE') {
    return new CliError(`could not listen on ${where}`, {
      exitCode: EXIT.operator,
      why: ['another program listens there'],
      fix: 'stop it, or take another port: mesh-ca serve --api-port 5691 (0 takes a free one)',
      cause: error,
    });
  }
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND' || (code === 'EACCES' && isListenError(error))) {
    return new CliError(`could not listen on ${where}`, {
      exitCode: EXIT.operator,
      why: [code === 'EACCES' ? 'the port may not be used by this user' : 'this machine does not have that address'],
      fix: 'correct --api-host and --api-port',
      cause: error,
    });
  }
  return error;
}

const isListenError = (error: unknown): boolean =>
  error instanceof Error && 'syscall' in error && error.syscall === 'listen';

const startRealApp: StartApp = async (settings, deps) => {
  const { startApp } = await import('../../app.ts');
  return startApp(settings, deps);
};
