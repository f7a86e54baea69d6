import type { Command } from 'commander';
import type { Kind } from '../../mesh/kinds.ts';
import { itemSchema } from '../api-client.ts';
import { CliError } from '../cli-error.ts';
import type { CliIo } from '../cli-io.ts';
import { type ClientContext, usage, withClient } from '../client-options.ts';
import { EXIT } from '../exit-code.ts';
import { print } from '../output.ts';
import { withProgress } from '../progress.ts';
import { ApiError } from '../read-problem.ts';
import { findKindByWord, kindWords, resourcePath, toTable, viewOf } from '../resource-views.ts';

/** `mesh-ca get meshes|secrets|dataplanes [NAME]` */
export function configureGet(command: Command, io: CliIo): void {
  command
    .argument('<kind>', `one of ${kindWords('plural')}`)
    .argument('[name]', 'only this one')
    .addHelpText(
      'after',
      '\nExamples:\n  mesh-ca get meshes\n  mesh-ca get secrets -m demo\n  mesh-ca get mesh default -o yaml',
    )
    .action((word: string, name: string | undefined) =>
      withClient(command, io, (context) => get(context, requireKind(word, 'plural'), name)),
    );
}

async function get(context: ClientContext, kind: Kind, name: string | undefined): Promise<void> {
  const { api, io, mesh } = context;
  if (name === undefined) {
    const items = await withProgress(io, `reading ${kind.path}`, () => api.list(resourcePath(kind, mesh)));
    await print(context, { total: items.length, items, next: null }, () =>
      toTable(viewOf(kind), items, io.clock.now()),
    );
    return;
  }
  const item = await api.call(itemSchema, 'GET', resourcePath(kind, mesh, name)).catch((error: unknown) => {
    throw explainMissing(error, kind, name, mesh);
  });
  await print(context, item, () => toTable(viewOf(kind), [item], io.clock.now()));
}

export function requireKind(word: string, form: 'singular' | 'plural'): Kind {
  const kind = findKindByWord(word);
  if (kind === undefined) throw usage(`there is no kind ${JSON.stringify(word)}`, `use one of ${kindWords(form)}`);
  return kind;
}

/** kumactl's words for a resource that is not there. */
export function explainMissing(error: unknown, kind: Kind, name: string, mesh: string): unknown {
  if (!(error instanceof ApiError) || error.status !== 404) return error;
  const where = kind.scope === 'Mesh' ? ` -m ${mesh}` : '';
  return new CliError(`there is no ${kind.type} with name ${JSON.stringify(name)}`, {
    exitCode: EXIT.request,
    why: kind.scope === 'Mesh' ? [`looked in mesh ${JSON.stringify(mesh)}`] : [],
    fix: `see what there is: mesh-ca get ${kind.path}${where}`,
    cause: error,
  });
}
