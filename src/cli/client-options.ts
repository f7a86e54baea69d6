import { type Command, InvalidArgumentError, Option } from 'commander';
import type { ApiClient } from './api-client.ts';
import { CliError } from './cli-error.ts';
import type { CliIo } from './cli-io.ts';
import { EXIT } from './exit-code.ts';
import type { OutputFormat } from './output.ts';

/** What every command that talks to a running mesh-ca has at hand. */
export interface ClientContext {
  readonly io: CliIo;
  readonly api: ApiClient;
  readonly mesh: string;
  readonly output: OutputFormat;
  /** Colours on standard output. */
  readonly colour: boolean;
  readonly timeoutMs: number;
}

const DEFAULT_ADDRESS = 'http://127.0.0.1:5681';
/** kumactl's. */
const DEFAULT_TIMEOUT = '60s';
const MAX_TOKEN_BYTES = 16 * 1024;

/** The options of all client commands. They may stand before or after the command. */
export function addClientOptions(program: Command): void {
  program
    .option('--address <url>', `where mesh-ca answers (env: MESH_CA_ADDRESS; default: ${DEFAULT_ADDRESS})`)
    .option('--token-file <file>', 'file with a bearer token (env: MESH_CA_TOKEN_FILE)')
    .addOption(new Option('-m, --mesh <name>', 'mesh to use').default('default', 'default'))
    .addOption(
      new Option('-o, --output <format>', 'form of the output')
        .choices(['table', 'json', 'yaml'])
        .default('table', 'table'),
    )
    .option('--timeout <duration>', 'longest wait for one answer', DEFAULT_TIMEOUT)
    .option('--no-color', 'no colours (also: env NO_COLOR)');
}

/** Names of the client options that were typed, for commands that take none of them. */
export function typedClientOptions(program: Command): string[] {
  return program.options
    .filter((option) => program.getOptionValueSource(option.attributeName()) === 'cli')
    .map(({ long }) => long ?? '');
}

/** Runs a command against the API and closes the connections afterwards. */
export async function withClient(
  command: Command,
  io: CliIo,
  work: (context: ClientContext) => Promise<void>,
): Promise<void> {
  const { parseDuration } = await import('../mesh/duration.ts');
  const { createApiClient } = await import('./api-client.ts');
  const options = command.optsWithGlobals<
    Record<'address' | 'tokenFile' | 'mesh' | 'timeout', string | undefined> & {
      output: OutputFormat;
      color: boolean;
    }
  >();
  const timeoutMs = parseDuration(options.timeout ?? DEFAULT_TIMEOUT);
  if (!timeoutMs)
    throw usage(`--timeout ${options.timeout} is no duration`, 'write a whole number and a unit: 500ms, 30s, 5m');
  const address = readAddress(options.address ?? io.env.MESH_CA_ADDRESS ?? DEFAULT_ADDRESS);
  const token = await readToken(options.tokenFile ?? io.env.MESH_CA_TOKEN_FILE);
  const colour = options.color && !io.env.NO_COLOR && io.env.TERM !== 'dumb' && io.stdout.isTTY;
  const api = createApiClient({ address, token, timeoutMs, clock: io.clock });
  try {
    await work({ io, api, mesh: options.mesh ?? 'default', output: options.output, colour, timeoutMs });
  } finally {
    api.close();
  }
}

/**
 * The mesh of a command that takes it as a name, too: `mesh-ca rotate demo` is `mesh-ca rotate -m demo`.
 * @throws CliError: two were typed
 */
export function readMesh(command: Command, name: string | undefined): string {
  const { mesh } = command.optsWithGlobals<{ mesh: string }>();
  const isTyped = command.getOptionValueSourceWithGlobals('mesh') === 'cli';
  if (name !== undefined && isTyped && mesh !== name)
    throw usage(`two meshes were given: ${name} and -m ${mesh}`, 'name one');
  return name ?? mesh;
}

/** A mistake in the command line that commander cannot see. */
export function usage(what: string, fix: string): CliError {
  return new CliError(what, { exitCode: EXIT.usage, fix });
}

/** `--tag k=v`, repeatable; the same tag may come several times and then has several values. */
export function collectTag(text: string, previous: Record<string, string[]> = {}): Record<string, string[]> {
  const at = text.indexOf('=');
  if (at < 1 || at === text.length - 1)
    throw new InvalidArgumentError('write it as TAG=VALUE, such as kuma.io/service=web.');
  const name = text.slice(0, at);
  const value = text.slice(at + 1);
  return { ...previous, [name]: [...(previous[name] ?? []), value] };
}

function readAddress(text: string): URL {
  const fix = `write it as ${DEFAULT_ADDRESS}`;
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw usage(`the address ${JSON.stringify(text)} is no URL`, fix);
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw usage(`the address ${JSON.stringify(text)} is neither http nor https`, fix);
  if (url.username !== '' || url.password !== '')
    throw usage('the address holds a user name or password', 'put a token into a file: --token-file FILE');
  url.search = '';
  url.hash = '';
  return url;
}

async function readToken(file: string | undefined): Promise<string | undefined> {
  if (file === undefined) return undefined;
  const { readFileText } = await import('./read-file-text.ts');
  const token = (await readFileText(file, MAX_TOKEN_BYTES, 'the token')).trim();
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw new CliError(`could not read the token from ${file}`, {
    exitCode: EXIT.request,
    why: [token === '' ? 'the file is empty' : 'it is not one word of printable characters'],
  });
}
