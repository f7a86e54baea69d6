import type { Command } from 'commander';
import type { CliIo } from '../cli-io.ts';
import { withClient } from '../client-options.ts';
import { kindWords, resourcePath } from '../resource-views.ts';
import { explainMissing, requireKind } from './get.ts';

/** `mesh-ca delete mesh|secret|dataplane NAME` */
export function configureDelete(command: Command, io: CliIo): void {
  command
    .argument('<kind>', `one of ${kindWords('singular')}`)
    .argument('<name>')
    .addHelpText('after', '\nExamples:\n  mesh-ca delete dataplane web-1\n  mesh-ca delete secret ca-cert -m demo')
    .action((word: string, name: string) =>
      withClient(command, io, async ({ api, mesh }) => {
        const kind = requireKind(word, 'singular');
        await api.send('DELETE', resourcePath(kind, mesh, name)).catch((error: unknown) => {
          throw explainMissing(error, kind, name, mesh);
        });
        io.stdout.write(`deleted ${kind.type} ${JSON.stringify(name)}\n`);
      }),
    );
}
