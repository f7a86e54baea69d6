import { basename, dirname } from 'node:path';
import { type Command, Option } from 'commander';
import { checkExistingName } from '../../mesh/names.ts';
import type { CliIo } from '../cli-io.ts';
import { type ClientContext, collectTag, usage, withClient } from '../client-options.ts';
import { chooseInbounds, chooseOutbounds, type PortOptions } from '../envoy/choose-ports.ts';
import { readEndpoint, readPort, readSds, type SdsOptions } from '../envoy/read-options.ts';
import { readMode, readProxy } from '../envoy/read-proxy.ts';
import { envoyBootstrap } from '../envoy-bootstrap.ts';
import { withProgress } from '../progress.ts';
import { writeFiles } from '../write-files.ts';

interface BootstrapOptions extends SdsOptions, PortOptions {
  readonly mode?: 'strict' | 'permissive';
  readonly tag?: Record<string, string[]>;
  readonly adminPort: number;
}

/** `mesh-ca envoy-bootstrap DATAPLANE` */
export function configureEnvoyBootstrap(command: Command, io: CliIo): void {
  command
    .argument('<dataplane>', 'name of the data plane')
    .addOption(
      new Option('--mode <mode>', 'what inbounds take; default: the mode of the enabled backend').choices([
        'strict',
        'permissive',
      ]),
    )
    .option('--dataplane-token-file <file>', 'data plane token; Envoy reads the file when it starts')
    .option('--inline-token', 'put the token itself into the bootstrap, for Envoys that cannot read it (needs --write)')
    .addOption(
      new Option('--sds-address <host:port>', 'where the SDS of mesh-ca answers')
        .argParser(readEndpoint)
        .default({ host: '127.0.0.1', port: 5678 }, '127.0.0.1:5678'),
    )
    .option('--sds-ca-file <file>', 'CA of the certificate of mesh-ca; without it SDS is plain text, on this machine')
    .addOption(
      new Option('--sds-auth <how>', 'how the proxy proves who it is')
        .choices(['token', 'mtls', 'none'])
        .default('token', 'token'),
    )
    .option('--sds-cert-file <file>', 'certificate with chain, for --sds-auth mtls')
    .option('--sds-key-file <file>', 'its key')
    .option('--sds-delta', 'incremental streams')
    .option('--identity-name <name>', 'SDS name of certificate and key', 'identity_cert')
    .option('--trust-name <name>', 'SDS name of the roots', 'mesh_ca')
    .option('--tag <tag=value>', 'tag of a data plane without a Dataplane resource, repeatable', collectTag)
    .addOption(
      new Option('--protocol <protocol>', 'default: by the tag kuma.io/protocol, else tcp').choices(['http', 'tcp']),
    )
    .option('--inbound-address <ip>', 'where other proxies come in; default: of the Dataplane')
    .option('--inbound-port <port>', 'likewise', readPort)
    .option('--service-address <host>', 'where the application listens; default: of the Dataplane')
    .option('--service-port <port>', 'likewise', readPort)
    .option('--outbound-service <name>', 'a service to reach, instead of the outbounds of the Dataplane')
    .option('--outbound-port <port>', 'port on 127.0.0.1 for it', readPort)
    .option('--outbound-address <host:port>', 'inbound of its proxy', readEndpoint)
    .option('--admin-port <port>', "of Envoy's admin interface on 127.0.0.1", readPort, 9901)
    .option('--write <file>', 'write it into this file (mode 0600) instead of printing it')
    .addHelpText(
      'after',
      `
Prints the bootstrap of an Envoy as YAML (-o json: as JSON): certificate, key and roots come by SDS, ports and services from the
Dataplane resource. It names files and holds no secret, unless with --inline-token.

Examples:
  mesh-ca generate dataplane-token --name web-1 --valid-for 720h --write web-1.token
  mesh-ca envoy-bootstrap web-1 --dataplane-token-file web-1.token --write web-1.yaml
  envoy -c web-1.yaml`,
    )
    .action((dataplane: string, options: BootstrapOptions) => {
      const violation = checkExistingName(dataplane)[0];
      if (violation !== undefined)
        throw usage(`the name ${JSON.stringify(dataplane)} is not usable: ${violation.message}`, 'correct it');
      return withClient(command, io, (context) => bootstrap(context, dataplane, options));
    });
}

async function bootstrap(context: ClientContext, dataplane: string, options: BootstrapOptions): Promise<void> {
  const { api, io, mesh, output } = context;
  const { tag, write } = options;
  const sds = await readSds(options, { mesh, dataplane, tags: tag ?? {} });
  const { mode, known } = await withProgress(io, `reading data plane ${dataplane}`, async () => ({
    mode: options.mode ?? (await readMode(api, mesh)),
    known: await readProxy(api, mesh, dataplane),
  }));
  if (known === undefined && tag === undefined) throw nobodyKnows(mesh, dataplane);
  const service = known?.service ?? tag?.['kuma.io/service']?.[0];
  const value = envoyBootstrap({
    mesh,
    dataplane,
    mode,
    sds,
    adminPort: options.adminPort,
    inbounds: chooseInbounds(options, known, dataplane),
    outbounds: chooseOutbounds(options, known),
    ...(service === undefined ? {} : { service }),
    ...(tag === undefined ? {} : { tags: tag }),
  });
  for (const { service: name, endpoints } of known?.outbounds ?? []) {
    if (endpoints.length > 0 || options.outboundService !== undefined) continue;
    io.stderr.write(
      `warning: no data plane of service ${name} is known; print the bootstrap again when there is one\n`,
    );
  }
  const text = output === 'json' ? `${JSON.stringify(value, null, 2)}\n` : await toYaml(value);
  if (write === undefined) {
    io.stdout.write(text);
    return;
  }
  await writeFiles(dirname(write), [{ name: basename(write), text }]);
  io.stdout.write(`wrote ${write}; next: envoy -c ${write}\n`);
}

/** Every piece stands in full at each of its places: nobody wants to read anchors. */
async function toYaml(value: object): Promise<string> {
  const { stringify } = await import('yaml');
  return stringify(value, { aliasDuplicateObjects: false, lineWidth: 0 });
}

function nobodyKnows(mesh: string, dataplane: string): Error {
  return usage(
    `there is no Dataplane ${dataplane} in mesh ${mesh}, so nobody knows its tags and ports`,
    'apply it: mesh-ca apply -f FILE, or name them: --tag kuma.io/service=NAME --inbound-port PORT --service-port PORT',
  );
}
