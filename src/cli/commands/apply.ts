import { type Command, Option } from 'commander';
import { z } from 'zod';
import { findKind } from '../../mesh/kinds.ts';
import { CliError } from '../cli-error.ts';
import type { CliIo } from '../cli-io.ts';
import { type ClientContext, usage, withClient } from '../client-options.ts';
import { formatValue } from '../output.ts';
import { withProgress } from '../progress.ts';
import { ApiError } from '../read-problem.ts';
import { labelOf, placeOf, readSources, type SourceDocument } from '../read-sources.ts';
import { resourcePath } from '../resource-views.ts';
import { plainText } from '../text.ts';

const answerSchema = z.looseObject({ warnings: z.array(z.string()).default([]) });

/** `mesh-ca apply -f FILE` */
export function configureApply(command: Command, io: CliIo): void {
  command
    .requiredOption(
      '-f, --file <place>',
      'file, folder, http(s) URL, or - for standard input; repeatable',
      (place: string, previous: string[] = []) => [...previous, place],
    )
    .addOption(
      new Option(
        '--dry-run [where]',
        'store nothing; client: only read the files and print what would be sent; server: let mesh-ca check each one',
      )
        .choices(['client', 'server'])
        .preset('client'),
    )
    .option(
      '--force',
      'for a Mesh: remove a backend though data planes that are offline hold certificates of it (docs/rotation.md)',
    )
    .addHelpText(
      'after',
      `
Resources are sent in the order in which they stand; YAML and JSON, Universal and Kubernetes form, several in a file.
A secret needs its mesh, and a backend needs its secrets: put a Mesh without mtls first, then the secrets, then the Mesh with mtls.

Examples:
  mesh-ca apply -f mesh.yaml
  mesh-ca apply -f examples/ --dry-run
  mesh-ca apply -f mesh.yaml --dry-run=server
  cat mesh.yaml | mesh-ca apply -f -`,
    )
    .action(({ file, dryRun, force = false }: { file: string[]; dryRun?: 'client' | 'server'; force?: boolean }) =>
      withClient(command, io, async (context) => {
        const { mesh: defaultMesh, timeoutMs } = context;
        const documents = await readSources(file, { io, defaultMesh, timeoutMs, undone: 'applied' });
        if (documents.length === 0) throw usage('there is no resource in what was given', 'see mesh-ca apply --help');
        if (force && documents.every(({ type }) => type !== 'Mesh'))
          throw usage('--force is for a Mesh, and there is none in what was given', 'leave it out');
        const sent = { isDryRun: dryRun === 'server', force };
        await (dryRun === 'client' ? tell(context, documents, sent) : apply(context, documents, sent));
      }),
    );
}

interface SendOptions {
  readonly isDryRun: boolean;
  readonly force: boolean;
}

async function tell(
  { io, output }: ClientContext,
  documents: readonly SourceDocument[],
  options: SendOptions,
): Promise<void> {
  const text = await formatValue(
    documents.map(({ body }) => body),
    output,
  );
  const lines = documents.map((document) => `PUT ${requestOf(document, options)}   (${placeOf(document)})\n`);
  io.stdout.write(text ?? lines.join(''));
}

async function apply(
  { api, io }: ClientContext,
  documents: readonly SourceDocument[],
  options: SendOptions,
): Promise<void> {
  const { isDryRun } = options;
  for (const [index, document] of documents.entries()) {
    const label = labelOf(document);
    const progress = `${isDryRun ? 'checking' : 'applying'} ${label} (${index + 1} of ${documents.length})`;
    const { status, text } = await withProgress(io, progress, () =>
      api.send('PUT', requestOf(document, options), { body: document.body }),
    ).catch((error: unknown) => {
      throw explain(error, documents, index, isDryRun);
    });
    io.stdout.write(`${label} ${isDryRun ? 'would be accepted' : status === 201 ? 'created' : 'updated'}\n`);
    for (const warning of readWarnings(text)) io.stderr.write(`warning: ${label}: ${plainText(warning)}\n`);
  }
}

function readWarnings(text: string): readonly string[] {
  try {
    return answerSchema.parse(JSON.parse(text)).warnings;
  } catch {
    return [];
  }
}

/** The server's reasons, which resource they are about, and what of the rest is in place. */
function explain(error: unknown, documents: readonly SourceDocument[], index: number, isDryRun: boolean): unknown {
  const document = documents[index];
  if (!(error instanceof CliError) || document === undefined) return error;
  const left = documents.length - index - 1;
  const rest = [
    index > 0 && !isDryRun ? `the ${index} before it stay applied` : '',
    left > 0 ? `the ${left} after it were not sent` : '',
  ]
    .filter(Boolean)
    .join(', ');
  const late = documents.slice(index + 1).find((other) => isMissingSecret(other, document, error));
  const isAfterWhatItNeeds =
    index > 0 &&
    ((error instanceof ApiError && error.status === 404) ||
      documents.slice(0, index).some((other) => isMissingSecret(other, document, error)));
  const fix = late
    ? `put ${labelOf(late)} (${placeOf(late)}) before it; the secret itself needs a Mesh without mtls first`
    : isDryRun && isAfterWhatItNeeds
      ? 'a dry run stores nothing: apply what stands before it first'
      : error.fix;
  return error.within(`could not apply ${labelOf(document)} (${placeOf(document)})${rest && `; ${rest}`}`, fix);
}

/** Whether a reason names a secret of the same mesh that comes later. */
function isMissingSecret(other: SourceDocument, document: SourceDocument, { why }: CliError): boolean {
  if (other.type !== 'Secret' || document.type !== 'Mesh' || other.mesh !== document.name) return false;
  return why.some((reason) => reason.split(/[^0-9a-z\-_.]+/).includes(other.name));
}

/** Path and query. */
function requestOf({ type, mesh, name }: SourceDocument, { isDryRun, force }: SendOptions): string {
  const kind = findKind(type);
  if (kind === undefined) throw new TypeError(`unknown kind ${type}`);
  const query = new URLSearchParams({
    ...(isDryRun ? { dryRun: 'true' } : {}),
    ...(force && type === 'Mesh' ? { force: 'true' } : {}),
  });
  return `${resourcePath(kind, mesh, name)}${query.size > 0 ? `?${query}` : ''}`;
}
