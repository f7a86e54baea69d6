import { Command, CommanderError } from 'commander';
import { VERSION } from '../version.ts';
import { ToldFailure, toCliError } from './cli-error.ts';
import type { CliIo } from './cli-io.ts';
import { addClientOptions } from './client-options.ts';
import { EXIT } from './exit-code.ts';
import { formatFailure } from './failure-text.ts';

type Configure = (command: Command, io: CliIo) => void | Promise<void>;

interface CommandEntry {
  readonly name: string;
  readonly summary: string;
  /** Talks to a running mesh-ca: its help shows the client options. */
  readonly client: boolean;
  load(): Promise<Configure>;
}

/** What there is. A command's file, and all that it imports, is loaded only when its name is typed. */
const COMMANDS: readonly CommandEntry[] = [
  {
    name: 'serve',
    summary: 'run the service',
    client: false,
    load: async () => (await import('./commands/serve.ts')).configureServe,
  },
  {
    name: 'apply',
    summary: 'create or update resources from files',
    client: true,
    load: async () => (await import('./commands/apply.ts')).configureApply,
  },
  {
    name: 'validate',
    summary: 'prove backends by test certificates, and tell what is wrong',
    client: true,
    load: async () => (await import('./commands/validate.ts')).configureValidate,
  },
  {
    name: 'get',
    summary: 'show meshes, secrets or data planes',
    client: true,
    load: async () => (await import('./commands/get.ts')).configureGet,
  },
  {
    name: 'delete',
    summary: 'delete a mesh, secret or data plane',
    client: true,
    load: async () => (await import('./commands/delete.ts')).configureDelete,
  },
  {
    name: 'inspect',
    summary: 'show data planes with their status and certificates',
    client: true,
    load: async () => (await import('./commands/inspect.ts')).configureInspect,
  },
  {
    name: 'issue',
    summary: 'get a certificate for a data plane and write it to files',
    client: true,
    load: async () => (await import('./commands/issue.ts')).configureIssue,
  },
  {
    name: 'rotate',
    summary: 'rotate a mesh to another CA, watch it, or roll it back',
    client: true,
    load: async () => (await import('./commands/rotate.ts')).configureRotate,
  },
  {
    name: 'generate',
    summary: 'make tokens for proxies',
    client: true,
    load: async () => (await import('./commands/generate.ts')).configureGenerate,
  },
  {
    name: 'envoy-bootstrap',
    summary: 'print the bootstrap of an Envoy that is a data plane',
    client: true,
    load: async () => (await import('./commands/envoy-bootstrap.ts')).configureEnvoyBootstrap,
  },
];

/**
 * Runs one command line (without `node` and the program's name). Resolves to the exit code; writes nowhere but to `io` and to the files
 * that the command is about.
 */
export async function runCli(argv: readonly string[], io: CliIo): Promise<number> {
  try {
    const program = await createProgram(argv, io);
    await program.parseAsync(argv, { from: 'user' });
    return EXIT.ok;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    if (error instanceof ToldFailure) return error.exitCode;
    const failure = toCliError(error);
    io.stderr.write(await formatFailure(failure, io, argv.includes('--no-color')));
    return failure.exitCode;
  }
}

async function createProgram(argv: readonly string[], io: CliIo): Promise<Command> {
  const program = new Command('mesh-ca')
    .description('Certificates and trust bundles for the data planes of service meshes.')
    .version(VERSION, '--version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      writeErr: (text) => io.stderr.write(text),
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    })
    .showSuggestionAfterError()
    .addHelpText('after', '\nStart with: mesh-ca serve');
  addClientOptions(program);
  for (const { name, summary, client, load } of COMMANDS) {
    const command = program
      .command(name)
      .description(summary)
      .configureHelp({ showGlobalOptions: client })
      .showHelpAfterError(`(mesh-ca ${name} --help tells more)`);
    if (argv.includes(name)) await (await load())(command, io);
    else command.allowUnknownOption().allowExcessArguments();
  }
  return program;
}
