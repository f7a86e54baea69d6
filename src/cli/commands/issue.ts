import { join } from 'node:path';
import type { Command } from 'commander';
import { z } from 'zod';
import { checkExistingName } from '../../mesh/names.ts';
import { spanText } from '../../text/span-text.ts';
import { parseCertificate } from '../../x509/certificate.ts';
import { createCsr } from '../../x509/create-csr.ts';
import { parseCsr } from '../../x509/csr.ts';
import { decodePem, encodePem } from '../../x509/pem.ts';
import type { ApiClient } from '../api-client.ts';
import { CliError } from '../cli-error.ts';
import type { CliIo } from '../cli-io.ts';
import { type ClientContext, collectTag, usage, withClient } from '../client-options.ts';
import { EXIT } from '../exit-code.ts';
import { holdLines, holdShape } from '../hold-text.ts';
import { keyPem, makeKeyPair, type PreparedKey, readKept, readKeyPair } from '../issue-key.ts';
import { boldWhere, formatValue } from '../output.ts';
import { withProgress } from '../progress.ts';
import { readFileText } from '../read-file-text.ts';
import { formatPairs } from '../table.ts';
import { plainText } from '../text.ts';
import { formatDate } from '../time-text.ts';
import { type NewFile, writeFiles } from '../write-files.ts';

interface IssueOptions {
  readonly tag?: Record<string, string[]>;
  readonly csr?: string;
  readonly out: string;
  readonly force?: boolean;
  readonly keyFromServer?: boolean;
}

const MAX_CSR_BYTES = 64 * 1024;
/** How often a bundle may change under our hands before the statement is left to the next run. */
const MAX_BUNDLE_READS = 3;

const identitySchema = z.object({
  uriSans: z.array(z.string()),
  dnsNames: z.array(z.string()),
  commonName: z.string(),
  keyTypes: z.array(z.string()),
});

const certificateSchema = z.object({
  backend: z.string(),
  type: z.string(),
  certificate: z.string(),
  caChain: z.array(z.string()),
  privateKey: z.string().optional(),
  serialNumber: z.string(),
  uriSans: z.array(z.string()),
  commonName: z.string(),
  notBefore: z.string(),
  notAfter: z.string(),
  renewAt: z.string(),
  outcome: z.string(),
  /** The last four stand only with outcome `stale`. */
  validForSeconds: z.number().optional(),
  ...holdShape,
  trustBundle: z.object({ version: z.string(), pem: z.string() }),
});
type Issued = z.output<typeof certificateSchema>;

/** `mesh-ca issue DATAPLANE` */
export function configureIssue(command: Command, io: CliIo): void {
  command
    .argument('<dataplane>', 'name of the data plane')
    .option(
      '--tag <tag=value>',
      'tag of the data plane, repeatable; without any, its Dataplane resource is read',
      collectTag,
    )
    .option('--csr <file>', 'use this certificate request (PEM) instead of a key made here')
    .option('--out <folder>', 'where the files go', '.')
    .option('--force', 'make a new key and certificate although the present ones stand')
    .option('--key-from-server', 'let mesh-ca or the backend make the key, and receive it')
    .addHelpText(
      'after',
      `
Writes <dataplane>.key, <dataplane>.crt (the certificate alone), <dataplane>.chain.crt (with intermediates, as proxies want it) and
ca.crt (the trust bundle), all with mode 0600. The private key is made here and never sent. Run again, it keeps the key, and the
certificate too until it is due; so it may be run from a timer.

Examples:
  mesh-ca issue web-1 --tag kuma.io/service=web --out certs
  mesh-ca issue web-1 -m demo --csr web-1.csr`,
    )
    .action((dataplane: string, options: IssueOptions) => {
      const violation = checkExistingName(dataplane)[0];
      if (violation !== undefined)
        throw usage(`the name ${JSON.stringify(dataplane)} is not usable: ${violation.message}`, 'correct it');
      if (options.csr !== undefined && options.keyFromServer)
        throw usage('--csr and --key-from-server exclude each other', 'drop one');
      return withClient(command, io, (context) => issue(context, dataplane, options));
    });
}

async function issue(context: ClientContext, dataplane: string, options: IssueOptions): Promise<void> {
  const { api, io, mesh } = context;
  const path = `/meshes/${encodeURIComponent(mesh)}/dataplanes/${encodeURIComponent(dataplane)}`;
  const tags = options.tag === undefined ? {} : { tags: options.tag };

  const { issued, key } = await withProgress(io, `waiting for a certificate for ${dataplane}`, async () => {
    const ask = async (key: PreparedKey) => {
      const { csr, current } = key;
      const body = { ...tags, csr, current, ...(options.force ? { force: true } : {}) };
      return { key, issued: await api.call(certificateSchema, 'POST', `${path}/_certificate`, { body }) };
    };
    const kept =
      options.keyFromServer || options.force || options.csr ? undefined : await readKept(options.out, dataplane);
    if (kept === undefined) return ask(await prepareKey(api, path, dataplane, options));
    try {
      return await ask(kept);
    } catch (error) {
      // The identity or the backend has changed, so that the names or the key of before do not fit any more.
      if (!(error instanceof CliError) || error.exitCode !== EXIT.request) throw error;
      return ask(await prepareKey(api, path, dataplane, options));
    }
  });
  const files = toFiles(dataplane, issued, key);
  await writeFiles(options.out, files);

  const bundleVersion = await stateBundle(api, path, issued, options.out).catch((error: unknown) => {
    const why = error instanceof CliError ? error.message : 'something unexpected happened';
    io.stderr.write(`warning: could not tell mesh-ca that the trust bundle is in place: ${why}\n`);
    return issued.trustBundle.version;
  });
  if (issued.outcome === 'stale') {
    io.stderr.write(staleText(issued, mesh));
  }
  await report(
    context,
    dataplane,
    issued,
    bundleVersion,
    files.map(({ name }) => join(options.out, name)),
  );
}

/** That the certificate is the one of before, how long it holds, why, and when to come again. */
function staleText(issued: Issued, mesh: string): string {
  const { backend, notAfter, validForSeconds, retryAfterSeconds } = issued;
  const left = validForSeconds === undefined ? '' : ` (${spanText(validForSeconds * 1000)} from now)`;
  const why = holdLines({ breaker: issued.breaker, cause: issued.cause }).map(
    (line, index) => `${index === 0 ? '  why: ' : '       '}${plainText(line)}\n`,
  );
  const again = retryAfterSeconds === undefined ? 'later' : `in ${spanText(retryAfterSeconds * 1000)}`;
  const isStore = issued.cause?.code === 'ERR_STORE_UNAVAILABLE';
  const what = isStore ? 'mesh-ca cannot store a new one' : `the backend ${plainText(backend)} fails`;
  const look = isStore ? 'look into the log of mesh-ca' : `mesh-ca validate ${mesh} --backend ${plainText(backend)}`;
  return [
    `warning: ${what}; this is the certificate of before, good until ${formatDate(notAfter)}${left}\n`,
    ...why,
    `  fix: run the same command again ${again}; what is wrong: ${look}\n`,
  ].join('');
}

async function prepareKey(
  api: ApiClient,
  path: string,
  dataplane: string,
  options: IssueOptions,
): Promise<PreparedKey> {
  if (options.keyFromServer) return {};
  if (options.csr !== undefined) return readCsr(options.csr);
  const body = options.tag === undefined ? {} : { tags: options.tag };
  const identity = await api.call(identitySchema, 'POST', `${path}/_identity`, { body });
  const kept = options.force ? undefined : await readKeyPair(join(options.out, `${dataplane}.key`));
  const keyPair =
    kept !== undefined && identity.keyTypes.includes(kept.type) ? kept : await makeKeyPair(identity.keyTypes);
  return {
    csr: encodePem('CERTIFICATE REQUEST', createCsr(keyPair, identity)),
    privateKey: keyPem(keyPair),
    spkiDer: keyPair.spkiDer,
  };
}

async function readCsr(file: string): Promise<PreparedKey> {
  const csr = await readFileText(file, MAX_CSR_BYTES, 'the certificate request');
  const block = decodePem(csr).find(({ label }) => label === 'CERTIFICATE REQUEST');
  if (block !== undefined) return { csr, spkiDer: parseCsr(block.der).publicKey.spkiDer };
  throw new CliError(`could not read the certificate request from ${file}`, {
    exitCode: EXIT.request,
    why: ['it holds no PEM block CERTIFICATE REQUEST'],
    fix: 'leave out --csr: then key and request are made here',
  });
}

/** What is written, the key first: whoever finds the new certificate finds its key, too. */
function toFiles(dataplane: string, issued: Issued, { privateKey, spkiDer, csr }: PreparedKey): NewFile[] {
  const [leaf] = decodePem(issued.certificate);
  if (leaf?.label !== 'CERTIFICATE' || (spkiDer !== undefined && !parseCertificate(leaf.der).spkiDer.equals(spkiDer))) {
    throw new CliError(`the certificate for ${dataplane} does not belong to the key made here`, {
      exitCode: EXIT.operator,
      why: [`backend ${issued.backend} (${issued.type}), serial number ${plainText(issued.serialNumber)}`],
      fix: 'nothing was written; look whether something between here and mesh-ca changes answers',
    });
  }
  const key = privateKey ?? issued.privateKey;
  if (key === undefined && csr === undefined) {
    throw new CliError(`no private key came with the certificate for ${dataplane}`, {
      exitCode: EXIT.operator,
      fix: 'leave out --key-from-server',
    });
  }
  return [
    ...(key === undefined ? [] : [{ name: `${dataplane}.key`, text: key }]),
    { name: `${dataplane}.crt`, text: issued.certificate },
    { name: `${dataplane}.chain.crt`, text: issued.certificate + issued.caChain.join('') },
    { name: 'ca.crt', text: issued.trustBundle.pem },
  ];
}

/** Tells mesh-ca which bundle is on disk, which is what a rotation waits for; a newer one is written first. */
async function stateBundle(api: ApiClient, path: string, issued: Issued, folder: string): Promise<string> {
  let { version } = issued.trustBundle;
  for (let reads = 0; reads < MAX_BUNDLE_READS; reads += 1) {
    const headers = { accept: 'application/x-pem-file', 'if-none-match': `"${version}"` };
    const { status, headers: answered, text } = await api.send('GET', `${path}/_trust-bundle`, { headers });
    if (status === 304) return version;
    const newer = /^"(\d+)"$/.exec(answered.etag ?? '')?.[1];
    if (newer === undefined)
      throw new CliError('its answer tells no version of the trust bundle', { exitCode: EXIT.operator });
    await writeFiles(folder, [{ name: 'ca.crt', text }]);
    version = newer;
  }
  return version;
}

async function report(
  { io, mesh, output, colour }: ClientContext,
  dataplane: string,
  issued: Issued,
  bundleVersion: string,
  files: readonly string[],
): Promise<void> {
  const {
    certificate: _certificate,
    caChain: _caChain,
    privateKey: _privateKey,
    trustBundle: _trustBundle,
    ...told
  } = issued;
  const text = await formatValue({ mesh, dataplane, ...told, trustBundleVersion: bundleVersion, files }, output);
  if (text !== undefined) {
    io.stdout.write(text);
    return;
  }
  const bold = await boldWhere(colour);
  const rows: [string, string][] = [
    ['DATA PLANE', `${dataplane} of mesh ${mesh}`],
    ['OUTCOME', `${issued.outcome}, backend ${issued.backend} (${issued.type})`],
    ['SERIAL NUMBER', issued.serialNumber],
    ...issued.uriSans.map((san, index): [string, string] => [index === 0 ? 'URI SANS' : '', san]),
    ['COMMON NAME', issued.commonName || '-'],
    ['NOT AFTER', formatDate(issued.notAfter)],
    ['RENEW AT', formatDate(issued.renewAt)],
    ['TRUST BUNDLE', `version ${bundleVersion}`],
    ...files.map((file, index): [string, string] => [index === 0 ? 'FILES' : '', file]),
  ];
  io.stdout.write(formatPairs(rows.map(([name, value]) => [bold(name), plainText(value)])));
}
