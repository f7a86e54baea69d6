import { rmSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findOpenBao } from './openbao-program.ts';
import { onProcessEnd } from './process-end.ts';
import { makeServerCertificate } from './server-certificate.ts';
import { findFreePort, pollUntil, startServerProcess } from './server-process.ts';
import { requestVault, type VaultReply, type VaultRequestOptions } from './vault-request.ts';

export interface OpenBaoOptions {
  /** HTTPS with a CA of its own. A list names other subject alternative names than `IP:127.0.0.1,DNS:localhost`. */
  readonly tls?: true | readonly string[];
  /** `disk` survives `restart()`. Default `memory`. */
  readonly storage?: 'memory' | 'disk';
  /** `false`: never initialised; `unseal` and everything with a token fails. Default true. */
  readonly initialise?: false;
  /** Becomes another node of this one's cluster, and stands by. Both need `storage: 'disk'`. */
  readonly joins?: StartedOpenBao;
  /** More lines for the server's configuration file (HCL). */
  readonly config?: string;
  /** Told what is used. Default: nobody. */
  print?(line: string): void;
}

export interface StartedOpenBao {
  readonly address: string;
  readonly rootToken: string;
  readonly unsealKey: string;
  readonly caCertPem: string | undefined;
  /** `path` without `/v1/`. Sends the root token unless another, or '' for none, is given. Never throws because of a status. */
  request(method: string, path: string, body?: unknown, options?: VaultRequestOptions): Promise<VaultReply>;
  /** As `request`, but a status over 299 is an error: for steps that must succeed. */
  must(method: string, path: string, body?: unknown, options?: VaultRequestOptions): Promise<unknown>;
  seal(): Promise<void>;
  unseal(): Promise<void>;
  /** Ends the program, until `restart()` or for good. Idempotent. */
  stop(): Promise<void>;
  /** Ends the program and starts it again, same address and folder; sealed again until `unseal`, with storage in memory never initialised. */
  restart(): Promise<void>;
  /** Idempotent. Ends the program and removes its folder. */
  close(): Promise<void>;
}

const MEMORY_STORAGE = 'storage "inmem" {}\ndisable_clustering = true';
/** Integrated storage: the only one on disk that both OpenBao and Vault still have. It wants a cluster address even when alone. */
const diskStorage = (folder: string, clusterPort: number, leader: string | undefined) => `storage "raft" {
  path = "${folder}"
  node_id = "${clusterPort}"
  performance_multiplier = 1
${leader === undefined ? '' : `  retry_join {\n    leader_api_addr = "${leader}"\n  }\n`}}
cluster_addr = "https://127.0.0.1:${clusterPort}"`;

const READY_WITHIN_MS = 20_000;
const UNSEALED_WITHIN_MS = 20_000;
const PORT_TRIES = 3;

/**
 * A running OpenBao (or Vault), initialised and unsealed: the one of `MESH_CA_TEST_VAULT_ADDR` and `MESH_CA_TEST_VAULT_TOKEN` where that is
 * enough, else a program from `findOpenBao` on a free port of 127.0.0.1 in a folder of its own. The root token is random and stands in no argument list.
 * @throws Error saying how to get a program when there is none
 */
export async function startOpenBao(options: OpenBaoOptions = {}): Promise<StartedOpenBao> {
  const print = options.print ?? (() => {});
  const given = process.env.MESH_CA_TEST_VAULT_ADDR;
  const { tls, storage, config, initialise, joins } = options;
  const isPlain = [tls, storage, config, initialise, joins].every((option) => option === undefined);
  if (given && isPlain) {
    print(`vault: the one at ${given} (MESH_CA_TEST_VAULT_ADDR)`);
    return givenServer(given, process.env.MESH_CA_TEST_VAULT_TOKEN ?? '');
  }
  const program = await findOpenBao();
  if (program === undefined) throw new Error('no OpenBao here: run `npm run servers`, or set VAULT_BIN');
  for (let attempt = 1; ; attempt++) {
    try {
      const started = await startProgram(program.path, options);
      print(`vault: ${program.from} at ${started.address} (${program.path})`);
      return started;
    } catch (error) {
      const portWasTaken = error instanceof Error && error.message.includes('address already in use');
      if (!portWasTaken || attempt === PORT_TRIES) throw error;
    }
  }
}

async function startProgram(program: string, options: OpenBaoOptions): Promise<StartedOpenBao> {
  const folder = await mkdtemp(join(tmpdir(), 'mesh-ca-openbao-'));
  const removeFolder = () => rmSync(folder, { recursive: true, force: true });
  const forgetFolder = onProcessEnd(removeFolder);
  try {
    return await startInFolder(program, folder, options, async () => {
      forgetFolder();
      await rm(folder, { recursive: true, force: true });
    });
  } catch (error) {
    forgetFolder();
    removeFolder();
    throw error;
  }
}

async function startInFolder(
  program: string,
  folder: string,
  options: OpenBaoOptions,
  removeFolder: () => Promise<void>,
): Promise<StartedOpenBao> {
  const port = await findFreePort();
  const clusterPort = await findFreePort();
  const names = options.tls === true ? ['IP:127.0.0.1', 'DNS:localhost'] : options.tls;
  const certificate = names === undefined ? undefined : await makeServerCertificate(folder, names);
  const address = `${certificate === undefined ? 'http' : 'https'}://127.0.0.1:${port}`;
  const caCertPem = certificate === undefined ? undefined : await readFile(certificate.caCertFile, 'utf8');
  const configFile = join(folder, 'openbao.hcl');
  const storage = join(folder, 'storage');
  await mkdir(storage);
  const tls =
    certificate === undefined
      ? 'tls_disable = true'
      : `tls_cert_file = "${certificate.certFile}"\n  tls_key_file = "${certificate.keyFile}"`;
  await writeFile(
    configFile,
    `${options.storage === 'disk' ? diskStorage(storage, clusterPort, options.joins?.address) : MEMORY_STORAGE}
listener "tcp" {
  address = "127.0.0.1:${port}"
  cluster_address = "127.0.0.1:${clusterPort}"
  ${tls}
}
api_addr = "${address}"
disable_mlock = true
${options.config ?? ''}
`,
    { mode: 0o600 },
  );

  const start = () =>
    startServerProcess({
      command: [program, 'server', `-config=${configFile}`],
      cwd: folder,
      env: { PATH: process.env.PATH, HOME: folder },
      readyWithinMs: READY_WITHIN_MS,
      isReady: async () => (await requestVault({ address, caCertPem }, 'GET', 'sys/seal-status')).status === 200,
    });
  let server = await start();
  let closed: Promise<void> | undefined;
  try {
    const { rootToken, unsealKey } = await initialise({ address, caCertPem }, options);
    const calls = createCalls({ address, caCertPem }, rootToken);
    const unseal = async () => {
      await calls.must('PUT', 'sys/unseal', { key: unsealKey }, { token: '' });
      // With storage on disk it stands by for a moment before it becomes active.
      const ready = options.joins === undefined ? 200 : 429;
      await pollUntil(UNSEALED_WITHIN_MS, async () => (await calls.request('GET', 'sys/health')).status === ready);
    };
    if (options.initialise !== false) await unseal();
    return {
      ...{ address, rootToken, unsealKey, caCertPem },
      ...calls,
      unseal,
      seal: async () => {
        await calls.must('PUT', 'sys/seal');
      },
      stop: () => server.stop(),
      restart: async () => {
        await server.stop();
        server = await start();
      },
      close: () => {
        closed ??= server.stop().then(removeFolder);
        return closed;
      },
    };
  } catch (error) {
    await server.stop();
    throw error;
  }
}

function givenServer(address: string, rootToken: string): StartedOpenBao {
  const refuse = async () => {
    throw new Error('this server was given by MESH_CA_TEST_VAULT_ADDR: it is not ours to seal or restart');
  };
  const calls = createCalls({ address, caCertPem: undefined }, rootToken);
  return {
    address,
    ...{ rootToken, unsealKey: '', caCertPem: undefined },
    ...calls,
    seal: refuse,
    unseal: refuse,
    stop: refuse,
    restart: refuse,
    close: async () => {},
  };
}

function createCalls(
  server: { readonly address: string; readonly caCertPem: string | undefined },
  rootToken: string,
): Pick<StartedOpenBao, 'request' | 'must'> {
  const request: StartedOpenBao['request'] = (method, path, body, options = {}) => {
    const { token = rootToken, ...others } = options;
    return requestVault(server, method, path, body, token === '' ? others : { token, ...others });
  };
  return {
    request,
    must: async (method, path, body, options) => {
      const reply = await request(method, path, body, options);
      if (reply.status > 299)
        throw new Error(`${method} ${path} answered ${reply.status}: ${JSON.stringify(reply.body)}`);
      return reply.body;
    },
  };
}

/** Of a node that joins: when it has found its cluster. */
async function initialise(
  server: { readonly address: string; readonly caCertPem: string | undefined },
  { initialise: isWanted, joins }: OpenBaoOptions,
): Promise<{ rootToken: string; unsealKey: string }> {
  if (isWanted === false) return { rootToken: '', unsealKey: '' };
  if (joins === undefined) {
    return readInit(await requestVault(server, 'PUT', 'sys/init', { secret_shares: 1, secret_threshold: 1 }));
  }
  await pollUntil(UNSEALED_WITHIN_MS, async () => {
    const { body } = await requestVault(server, 'GET', 'sys/seal-status');
    return typeof body === 'object' && body !== null && 'initialized' in body && body.initialized === true;
  });
  return { rootToken: joins.rootToken, unsealKey: joins.unsealKey };
}

function readInit(reply: VaultReply): { rootToken: string; unsealKey: string } {
  const body = reply.body;
  if (typeof body === 'object' && body !== null && 'root_token' in body && 'keys_base64' in body) {
    const key = Array.isArray(body.keys_base64) ? body.keys_base64[0] : undefined;
    if (typeof body.root_token === 'string' && typeof key === 'string')
      return { rootToken: body.root_token, unsealKey: key };
  }
  throw new Error(`sys/init answered ${reply.status}`);
}
