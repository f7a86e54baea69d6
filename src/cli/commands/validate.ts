import type { Command } from 'commander';
import pLimit from 'p-limit';
import { z } from 'zod';
import { countText } from '../../text/count-text.ts';
import { createCheckStyle, formatBackend } from '../check-lines.ts';
import { CliError, ToldFailure } from '../cli-error.ts';
import type { CliIo } from '../cli-io.ts';
import { type ClientContext, readMesh, usage, withClient } from '../client-options.ts';
import { EXIT } from '../exit-code.ts';
import { formatValue } from '../output.ts';
import { withProgress } from '../progress.ts';
import { exitCodeOfValidation, mergeValidations, type Validation, validationSchema } from '../proof-view.ts';
import { labelOf, placeOf, readSources, type SourceDocument } from '../read-sources.ts';
import { resourcePath } from '../resource-views.ts';
import { plainText } from '../text.ts';
import { explainMissing, requireKind } from './get.ts';

interface ValidateOptions {
  readonly file?: string[];
  readonly backend?: string[];
}

const meshSchema = z.looseObject({
  mtls: z
    .looseObject({ backends: z.array(z.looseObject({ name: z.string() })).default([]) })
    .nullish()
    .transform((mtls) => mtls?.backends ?? []),
});

const MESH = requireKind('mesh', 'singular');
/** As many as mesh-ca proves at once: more would wait there, and be sent away if that takes long. */
const AT_ONCE = 8;
const MAX_TOLD = 100;

const collect = (value: string, previous: string[] = []): string[] => [...previous, value];

/** `mesh-ca validate [MESH]`, `mesh-ca validate -f FILE` */
export function configureValidate(command: Command, io: CliIo): void {
  command
    .argument('[mesh]', 'a mesh that is stored; or name it with -m')
    .option('--backend <name>', 'only this backend of it; repeatable', collect)
    .option(
      '-f, --file <place>',
      'Mesh that is not stored: file, folder, URL, or - for standard input; repeatable',
      collect,
    )
    .addHelpText(
      'after',
      `
Has each backend issue a short-lived test certificate for a reserved name, and looks at everything that a proxy needs: address, login,
rights, lifetimes, names, chain, and a TLS handshake. Changes nothing; with -f nothing is stored. Each certificate of acmpca is billed.
docs/checks.md lists the checks.

Exit code: 0 when nothing failed (warnings may stand), 4 when all that failed may pass by itself, 5 when somebody has to change something.

Examples:
  mesh-ca validate
  mesh-ca validate demo --backend vault-1
  mesh-ca validate -f mesh.yaml`,
    )
    .action((name: string | undefined, { file, backend }: ValidateOptions) =>
      withClient(command, io, async (context) => {
        if (file !== undefined) {
          if (name !== undefined || backend !== undefined)
            throw usage('-f validates what is in the file: it takes no mesh and no --backend', 'drop one of them');
          await validateFiles(context, file);
          return;
        }
        await validateStored(context, readMesh(command, name), backend);
      }),
    );
}

async function validateStored(context: ClientContext, mesh: string, wanted?: readonly string[]): Promise<void> {
  const { api, io } = context;
  const names = await readBackendNames(context, mesh);
  const unknown = wanted?.find((name) => !names.includes(name));
  if (unknown !== undefined) {
    throw new CliError(`mesh ${mesh} has no backend ${JSON.stringify(unknown)}`, {
      exitCode: EXIT.request,
      why: [names.length === 0 ? 'it has none' : plainText(`it has ${names.join(', ')}`)],
      fix: names.length === 0 ? undefined : plainText(`mesh-ca validate ${mesh} --backend ${names[0]}`),
    });
  }
  const chosen = names.filter((name) => wanted === undefined || wanted.includes(name));
  const validate = (name: string): Promise<Validation> => {
    const path = `${resourcePath(MESH, '', mesh)}/_backends/${encodeURIComponent(name)}/_validate`;
    return api.call(validationSchema, 'POST', path).catch((error: unknown) => {
      throw within(error, plainText(`could not validate backend ${name} of mesh ${mesh}`));
    });
  };
  const answers = await withProgress(io, plainText(`proving ${chosen.join(', ')} of mesh ${mesh}`), () =>
    pLimit(AT_ONCE).map(chosen, validate),
  );
  await tell(context, mergeValidations(answers), {
    nothing: `mesh ${mesh} has no mTLS backend: there is nothing to validate`,
    again: (failed) => `mesh-ca validate ${mesh}${failed.map((name) => ` --backend ${name}`).join('')}`,
    next: `mesh-ca issue DATAPLANE -m ${mesh} --out certs`,
  });
}

async function validateFiles(context: ClientContext, places: string[]): Promise<void> {
  const { api, io, mesh: defaultMesh, timeoutMs } = context;
  const documents = await readSources(places, { io, defaultMesh, timeoutMs, undone: 'validated' });
  if (documents.length === 0) throw usage('there is no resource in what was given', 'see mesh-ca validate --help');
  const meshes = meshesOf(documents);
  const answers: Validation[] = [];
  for (const document of meshes) {
    const label = labelOf(document);
    const answer = await withProgress(io, `validating ${label}`, () =>
      api.call(validationSchema, 'POST', '/_validate', { body: document.body }),
    ).catch((error: unknown) => {
      throw within(error, `could not validate ${label} (${placeOf(document)})`);
    });
    answers.push(answer);
  }
  const command = (verb: string) => `mesh-ca ${verb}${places.map((place) => ` -f ${place}`).join('')}`;
  await tell(context, mergeValidations(answers), {
    nothing: `${meshes.length === 1 ? 'the Mesh has' : 'the Meshes have'} no mTLS backend: there is nothing to validate`,
    again: () => command('validate'),
    next: command('apply'),
    passedOver: passedOver(documents),
  });
}

const within = (error: unknown, what: string): unknown => (error instanceof CliError ? error.within(what) : error);

/** @throws CliError when there is none, naming what there is */
function meshesOf(documents: readonly SourceDocument[]): readonly SourceDocument[] {
  const meshes = documents.filter(({ type }) => type === 'Mesh');
  if (meshes.length > 0) return meshes;
  throw new CliError('nothing was validated: only a Mesh can be', {
    exitCode: EXIT.request,
    why: documents
      .slice(0, MAX_TOLD)
      .map((document) => `${labelOf(document)} (${placeOf(document)}) is a ${document.type}`),
    fix: 'name the file of the Mesh: mesh-ca validate -f mesh.yaml',
  });
}

/** What else stands in the files: it is no fault that a Mesh is not alone, but nobody should believe that the rest was looked at. */
function passedOver(documents: readonly SourceDocument[]): string | undefined {
  const others = documents.filter(({ type }) => type !== 'Mesh').map(({ type }) => type);
  if (others.length === 0) return undefined;
  const kinds = [...new Set(others)].map((kind) => countText(others.filter((other) => other === kind).length, kind));
  const secrets = others.includes('Secret') ? '; secrets were read as they are stored' : '';
  return `not looked at: ${kinds.join(', ')}${secrets}`;
}

async function readBackendNames({ api }: ClientContext, mesh: string): Promise<readonly string[]> {
  const { mtls } = await api.call(meshSchema, 'GET', resourcePath(MESH, '', mesh)).catch((error: unknown) => {
    throw explainMissing(error, MESH, mesh, mesh);
  });
  return mtls.map(({ name }) => name);
}

interface Words {
  /** When there is no backend. */
  readonly nothing: string;
  /** The command that proves again what failed. */
  again(failed: readonly string[]): string;
  /** The command to type when all is well. */
  readonly next: string;
  /** What was given and not looked at. */
  readonly passedOver?: string | undefined;
}

/** @throws ToldFailure when something failed */
async function tell({ io, output, colour }: ClientContext, validation: Validation, words: Words): Promise<void> {
  const text = await formatValue(validation, output);
  if (text === undefined) {
    const style = await createCheckStyle(io.stdout, io.env, colour);
    const parts = validation.backends.map((backend) => formatBackend(backend, style));
    const rest = words.passedOver === undefined ? '' : `${words.passedOver}\n`;
    io.stdout.write([...parts, `${rest}${summaryOf(validation, words)}\n`].join('\n'));
  } else io.stdout.write(text);
  const exitCode = exitCodeOfValidation(validation);
  if (exitCode !== EXIT.ok) throw new ToldFailure(exitCode);
}

function summaryOf({ backends }: Validation, { nothing, again, next }: Words): string {
  if (backends.length === 0) return nothing;
  const failed = backends.filter(({ ok }) => !ok);
  const all = backends.length === 1 ? 'the backend' : `all ${backends.length} backends`;
  const warned = backends.some(({ checks }) => checks.some(({ status }) => status === 'warning'));
  if (failed.length === 0) {
    return `${all} can issue certificates that proxies accept${warned ? '; look at the warnings' : ''}\nnext: ${next}`;
  }
  const some = backends.length === 1 ? 'the backend' : `${failed.length} of ${backends.length} backends`;
  const command = plainText(again(failed.map(({ backend }) => backend)));
  return failed.every(({ retry }) => retry === true)
    ? `${some} failed, which may pass by itself\nnext: wait, or follow the fixes, then: ${command}`
    : `${some} failed\nnext: follow the fixes from the top, then: ${command}`;
}
