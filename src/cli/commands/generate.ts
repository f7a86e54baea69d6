import { basename, dirname } from 'node:path';
import { type Command, Option } from 'commander';
import { z } from 'zod';
import { parseGoDuration } from '../../mesh/go-duration.ts';
import { checkExistingName } from '../../mesh/names.ts';
import { CliError } from '../cli-error.ts';
import type { CliIo } from '../cli-io.ts';
import { type ClientContext, collectTag, usage, withClient } from '../client-options.ts';
import { EXIT } from '../exit-code.ts';
import { formatValue } from '../output.ts';
import { formatDate } from '../time-text.ts';
import { writeFiles } from '../write-files.ts';

interface TokenOptions {
  readonly name?: string;
  readonly tag?: Record<string, string[]>;
  readonly proxyType?: string;
  readonly validFor: string;
  readonly write?: string;
}

const MAX_TOKEN_LENGTH = 64 * 1024;
const TOKEN = /^[\w-]+\.([\w-]+)\.[\w-]+$/;

/** What the token says that nobody typed. */
const claimsSchema = z.object({ jti: z.string(), exp: z.number().max(8.64e12) });

/** `mesh-ca generate dataplane-token` */
export function configureGenerate(command: Command, io: CliIo): void {
  const token = command.command('dataplane-token').description('make a token by which a proxy proves who it is');
  token
    .showHelpAfterError('(mesh-ca generate dataplane-token --help tells more)')
    .option('--name <dataplane>', 'only for the data plane of this name')
    .option('--tag <tag=value>', 'only with this value of the tag; repeatable, or values divided by commas', collectTag)
    .addOption(
      new Option('--proxy-type <type>', 'only for this type of proxy').choices(['dataplane', 'ingress', 'egress']),
    )
    .requiredOption('--valid-for <duration>', 'how long it is valid, such as 24h or 720h30m')
    .option('--write <file>', 'write it into this file (mode 0600) instead of printing it')
    .addHelpText(
      'after',
      `
Prints the bare token; -o json adds its id (jti), by which it can be revoked: the ids in the secret
dataplane-token-revocations-MESH, divided by commas, are refused.

Examples:
  mesh-ca generate dataplane-token --name web-1 --valid-for 24h --write web-1.token
  mesh-ca generate dataplane-token -m demo --tag kuma.io/service=web,web-api --valid-for 720h`,
    )
    .action((options: TokenOptions) => {
      checkOptions(options);
      return withClient(token, io, (context) => generate(context, options));
    });
}

function checkOptions({ name, validFor }: TokenOptions): void {
  const violation = name === undefined ? undefined : checkExistingName(name)[0];
  if (violation !== undefined)
    throw usage(`the name ${JSON.stringify(name)} is not usable: ${violation.message}`, 'correct it');
  const ms = parseGoDuration(validFor);
  if (ms === undefined || ms < 1000) {
    const days = /^([0-9]{1,5})d$/.exec(validFor)?.[1];
    throw usage(
      `--valid-for ${validFor} is no duration of 1s or more`,
      days === undefined
        ? 'write numbers with units of h, m, s: --valid-for 24h30m'
        : `Go durations have no days: --valid-for ${Number(days) * 24}h`,
    );
  }
}

async function generate(context: ClientContext, options: TokenOptions): Promise<void> {
  const { api, io, mesh, output } = context;
  const { name, proxyType, validFor, write } = options;
  const tags = Object.fromEntries(
    Object.entries(options.tag ?? {}).map(([tag, values]) => [tag, values.flatMap((value) => value.split(','))]),
  );
  const body = { mesh, name, tags, type: proxyType, validFor };
  const { text } = await api.send('POST', '/tokens/dataplane', { body, headers: { accept: 'text/plain' } });
  const claims = readClaims(text);
  if (write !== undefined) await writeFiles(dirname(write), [{ name: basename(write), text }]);
  const expiresAt = new Date(claims.exp * 1000).toISOString();
  const told = { mesh, name, tags, type: proxyType, jti: claims.jti, expiresAt };
  const shown = write === undefined ? { token: text } : { file: write };
  const formatted = await formatValue({ ...told, ...shown }, output);
  // A shell that takes the output takes the token and nothing else, as with kumactl.
  const bare = io.stdout.isTTY ? `${text}\n` : text;
  const written = `wrote ${write}, valid until ${formatDate(expiresAt)}\n`;
  io.stdout.write(formatted ?? (write === undefined ? bare : written));
}

/** Of a token just made: nothing is proven here. */
function readClaims(token: string): z.output<typeof claimsSchema> {
  const payload = token.length <= MAX_TOKEN_LENGTH ? TOKEN.exec(token)?.[1] : undefined;
  if (payload !== undefined) {
    const claims = claimsSchema.safeParse(parseJson(Buffer.from(payload, 'base64url').toString()));
    if (claims.success) return claims.data;
  }
  throw new CliError('what was answered is no token', {
    exitCode: EXIT.operator,
    fix: 'look whether something between here and mesh-ca changes answers',
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
