import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { ApiError } from '../../src/cli/read-problem.ts';
import type { TlsFiles } from '../support/mutual-tls.ts';
import type { RestartableMeshCa } from './restartable-mesh-ca.ts';

/** A data plane that speaks HTTP with mesh-ca instead of SDS, and keeps everything that it ever held: it tells of CAs that are gone. */
export interface Witness {
  /** What it holds now. */
  files(): TlsFiles;
  /** The last that it held of a backend, with the roots that it trusts now. */
  filesOf(backend: string): TlsFiles;
  /** What went wrong, other than that mesh-ca was not there for a moment. */
  problems(): readonly string[];
  /** Idempotent. */
  close(): Promise<void>;
}

const certificateSchema = z.object({
  backend: z.string(),
  certificate: z.string(),
  caChain: z.array(z.string()),
  privateKey: z.string().optional(),
  outcome: z.string(),
});

interface Held {
  readonly leaf: string;
  readonly chain: string;
  readonly key: string;
}

const ASK_EVERY_MS = 400;
/** What is under way when mesh-ca is told to end may be answered by this. */
const STOPPING = 503;

/** Resolves when it holds a certificate and a bundle. It asks again and again, telling what it holds, until it is closed. */
export async function startWitness(meshCa: RestartableMeshCa, path: string): Promise<Witness> {
  const stopping = new AbortController();
  const held = new Map<string, Held>();
  const problems: string[] = [];
  let bundle = { version: '', pem: '' };
  let current: Held | undefined;

  /** Asking with the version that it holds is its statement that it trusts that version. */
  const askForBundle = async () => {
    const headers: Record<string, string> = bundle.version === '' ? {} : { 'if-none-match': bundle.version };
    const answer = await meshCa.api().send('GET', `${path}/_trust-bundle`, {
      headers: { ...headers, accept: 'application/x-pem-file' },
    });
    if (answer.status === 304) return;
    bundle = { version: answer.headers.etag ?? '', pem: answer.text };
    await askForBundle();
  };
  const askForCertificate = async () => {
    const body = current === undefined ? {} : { current: current.leaf };
    const answer = await meshCa.api().call(certificateSchema, 'POST', `${path}/_certificate`, { body });
    if (answer.privateKey === undefined) return;
    current = {
      leaf: answer.certificate,
      chain: [answer.certificate, ...answer.caChain].join(''),
      key: answer.privateKey,
    };
    held.set(answer.backend, current);
  };
  const ask = async () => {
    await askForBundle();
    await askForCertificate();
  };
  const run = async () => {
    while (!stopping.signal.aborted) {
      await ask().catch((error: unknown) => {
        if (error instanceof ApiError && error.status !== STOPPING) problems.push(error.message);
      });
      await sleep(ASK_EVERY_MS, undefined, { signal: stopping.signal }).catch(() => {});
    }
  };
  const filesFrom = (from: Held | undefined): TlsFiles => {
    if (from === undefined) throw new Error(`${path} holds no such certificate`);
    return { key: from.key, chain: from.chain, trustBundle: bundle.pem };
  };

  await ask();
  const running = run();
  return {
    files: () => filesFrom(current),
    filesOf: (backend) => filesFrom(held.get(backend)),
    problems: () => problems,
    close: () => {
      stopping.abort();
      return running;
    },
  };
}
