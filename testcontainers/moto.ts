import { rmSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  ACMPCAClient,
  CreateCertificateAuthorityCommand,
  GetCertificateAuthorityCsrCommand,
  GetCertificateCommand,
  ImportCertificateAuthorityCertificateCommand,
  IssueCertificateCommand,
} from '@aws-sdk/client-acm-pca';
import { findMoto } from './moto-program.ts';
import { onProcessEnd } from './process-end.ts';
import { runProgram } from './run-program.ts';
import { findFreePort, startServerProcess } from './server-process.ts';

export interface MotoOptions {
  /** Told what is used. Default: nobody. */
  print?(line: string): void;
}

export interface MotoCaOptions {
  /** `subordinate`: its certificate is signed by a root that openssl makes, and lives ten years. A root lives one year, whatever is asked. Default `root`. */
  readonly type?: 'root' | 'subordinate';
  /** Default `moto root` or `moto subordinate`. */
  readonly commonName?: string;
  /** False: stays in the state PENDING_CERTIFICATE. Default true. */
  readonly imported?: boolean;
}

/** Every key of a CA here is RSA-2048, every leaf is valid for 365 days from now, and the usage mode is always told as short-lived. */
export interface StartedMoto {
  /** All services stand behind it: ACM PCA, STS... */
  readonly endpoint: string;
  readonly region: string;
  /** Anything is accepted; these are as good as any. */
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
  /** A CA: its ARN. */
  createCa(options?: MotoCaOptions): Promise<string>;
  /** Idempotent. Ends the program and removes its folder. */
  close(): Promise<void>;
}

const REGION = 'us-east-1';
const CREDENTIALS = { accessKeyId: 'AKIAIOSFODNN7EXAMPLE', secretAccessKey: 'moto-takes-everything' };
const READY_WITHIN_MS = 30_000;
const OPENSSL_TIMEOUT_MS = 20_000;
const PORT_TRIES = 3;

/**
 * A running moto server: the one of `MESH_CA_TEST_MOTO_ADDR`, else a program from `findMoto` on a free port of 127.0.0.1.
 * @throws Error saying how to get one when there is none
 */
export async function startMoto(options: MotoOptions = {}): Promise<StartedMoto> {
  const print = options.print ?? (() => {});
  const given = process.env.MESH_CA_TEST_MOTO_ADDR;
  if (given) {
    print(`moto: the one at ${given} (MESH_CA_TEST_MOTO_ADDR)`);
    return startedAt(given, async () => {});
  }
  const found = await findMoto();
  if (found === undefined) throw new Error('no moto here: run `npm run servers`, or set MESH_CA_TEST_MOTO_ADDR');
  const folder = await mkdtemp(join(tmpdir(), 'mesh-ca-moto-'));
  const forgetFolder = onProcessEnd(() => rmSync(folder, { recursive: true, force: true }));
  const removeFolder = async () => {
    forgetFolder();
    await rm(folder, { recursive: true, force: true });
  };
  for (let attempt = 1; ; attempt++) {
    const port = await findFreePort();
    const endpoint = `http://127.0.0.1:${port}`;
    try {
      const server = await startServerProcess({
        command: [...found.command, '-H', '127.0.0.1', '-p', String(port)],
        cwd: folder,
        env: { PATH: process.env.PATH, HOME: folder, ...found.env },
        readyWithinMs: READY_WITHIN_MS,
        isReady: async () => (await fetch(`${endpoint}/moto-api/`)).ok,
      });
      print(`moto: ${found.from} at ${endpoint} (${found.path})`);
      let closed: Promise<void> | undefined;
      return startedAt(endpoint, () => {
        closed ??= server.stop().then(removeFolder);
        return closed;
      });
    } catch (error) {
      const portWasTaken = error instanceof Error && /address already in use/i.test(error.message);
      if (portWasTaken && attempt < PORT_TRIES) continue;
      await removeFolder();
      throw error;
    }
  }
}

function startedAt(endpoint: string, close: () => Promise<void>): StartedMoto {
  return {
    endpoint,
    region: REGION,
    credentials: CREDENTIALS,
    async createCa({ type = 'root', commonName = `moto ${type}`, imported = true } = {}) {
      const client = new ACMPCAClient({ endpoint, region: REGION, credentials: CREDENTIALS });
      try {
        const arn = await createAuthority(client, type, commonName);
        if (imported) await importCertificate(client, arn, type, commonName);
        return arn;
      } finally {
        client.destroy();
      }
    },
    close,
  };
}

async function createAuthority(
  client: ACMPCAClient,
  type: 'root' | 'subordinate',
  commonName: string,
): Promise<string> {
  const { CertificateAuthorityArn: arn = '' } = await client.send(
    new CreateCertificateAuthorityCommand({
      CertificateAuthorityType: type === 'root' ? 'ROOT' : 'SUBORDINATE',
      CertificateAuthorityConfiguration: {
        KeyAlgorithm: 'RSA_2048',
        SigningAlgorithm: 'SHA256WITHRSA',
        Subject: { CommonName: commonName },
      },
    }),
  );
  return arn;
}

/** Asks for the CA's own CSR, has that signed, brings the certificate: the steps of the user guide. */
async function importCertificate(
  client: ACMPCAClient,
  arn: string,
  type: 'root' | 'subordinate',
  commonName: string,
): Promise<void> {
  const authority = { CertificateAuthorityArn: arn };
  const { Csr: csr = '' } = await client.send(new GetCertificateAuthorityCsrCommand(authority));
  const { certificate, chain } =
    type === 'root' ? await selfSign(client, arn, csr) : await signByOwnRoot(csr, commonName);
  await client.send(
    new ImportCertificateAuthorityCertificateCommand({
      ...authority,
      Certificate: Buffer.from(certificate),
      ...(chain === undefined ? {} : { CertificateChain: Buffer.from(chain) }),
    }),
  );
}

interface SignedCa {
  /** PEM. */
  readonly certificate: string;
  readonly chain?: string;
}

async function selfSign(client: ACMPCAClient, arn: string, csr: string): Promise<SignedCa> {
  const authority = { CertificateAuthorityArn: arn };
  const { CertificateArn } = await client.send(
    new IssueCertificateCommand({
      ...authority,
      Csr: Buffer.from(csr),
      SigningAlgorithm: 'SHA256WITHRSA',
      TemplateArn: 'arn:aws:acm-pca:::template/RootCACertificate/V1',
      Validity: { Type: 'YEARS', Value: 10 },
    }),
  );
  const { Certificate: certificate = '' } = await client.send(
    new GetCertificateCommand({ ...authority, CertificateArn }),
  );
  return { certificate };
}

async function signByOwnRoot(csr: string, commonName: string): Promise<SignedCa> {
  const folder = await mkdtemp(join(tmpdir(), 'mesh-ca-moto-root-'));
  const file = (name: string) => join(folder, name);
  const openssl = async (...args: string[]) => {
    const result = await runProgram(['openssl', ...args], { timeoutMs: OPENSSL_TIMEOUT_MS });
    if (result.exitCode !== 0) throw new Error(`openssl ${args[0]} failed: ${result.output.trim()}`);
  };
  try {
    await writeFile(file('ca.csr'), csr);
    await writeFile(
      file('ca.ext'),
      'basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n',
    );
    await openssl(
      ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', file('root.key'), '-out', file('root.pem')],
      ...['-days', '3651', '-subj', `/CN=${commonName} root`],
    );
    await openssl(
      ...['x509', '-req', '-in', file('ca.csr'), '-CA', file('root.pem'), '-CAkey', file('root.key')],
      ...['-CAcreateserial', '-days', '3650', '-extfile', file('ca.ext'), '-out', file('ca.pem')],
    );
    return {
      certificate: await readFile(file('ca.pem'), 'utf8'),
      chain: await readFile(file('root.pem'), 'utf8'),
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
