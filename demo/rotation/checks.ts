import { X509Certificate } from 'node:crypto';
import { request } from 'node:http';
import { z } from 'zod';
import { callServer, startServer, type TlsFiles } from '../support/mutual-tls.ts';
import { MESH } from './mesh.ts';
import { type MeshProxy, spiffeId, WITNESS, WITNESS_CALLER } from './proxies.ts';
import { egressPath } from './proxy-bootstrap.ts';
import type { World } from './world.ts';

const bundleSchema = z.object({ roots: z.array(z.object({ backends: z.array(z.string()), pem: z.string() })) });

/** PEM of each root in the bundle of the mesh, with the backends that it is of. */
export async function readRoots({ meshCa }: World): Promise<readonly { backends: string[]; pem: string }[]> {
  return (await meshCa.api().call(bundleSchema, 'GET', `/meshes/${MESH}/_trust-bundle`)).roots;
}

/**
 * After a rotation the mesh trusts the CA of `backend` alone, and so does each proxy, whose whole chain is under it.
 * @throws Error naming the proxy that is not so
 */
export async function checkOnlyNewCa(world: World, backend: string, signal: AbortSignal): Promise<void> {
  const roots = await readRoots(world);
  const others = roots.filter(({ backends }) => backends.join() !== backend);
  if (roots.length === 0 || others.length > 0) {
    throw new Error(`the trust bundle holds roots of ${others.flatMap((one) => one.backends).join(', ') || 'nobody'}`);
  }
  const serialNumbers = roots.map(({ pem }) => serialNumberOf(pem));
  for (const proxy of world.proxies.all) await checkTrusted(proxy, serialNumbers);
  await checkChains(world, backend, signal);
}

/**
 * Each proxy shows a chain under the roots of `backend`.
 * @throws Error naming the proxy that does not
 */
export async function checkChains(world: World, backend: string, signal: AbortSignal): Promise<void> {
  const roots = (await readRoots(world)).filter(({ backends }) => backends.includes(backend));
  // The witness trusts these and nothing else.
  const files = { ...world.witness.files(), trustBundle: roots.map(({ pem }) => pem).join('') };
  for (const { name, inboundPort, spiffeId } of world.proxies.all) {
    await callServer(inboundPort, files, spiffeId, signal).catch((error: unknown) => {
      throw new Error(`${name} does not show a chain under ${backend}: ${messageOf(error)}`);
    });
  }
}

async function checkTrusted({ name, envoy }: MeshProxy, serialNumbers: readonly string[]): Promise<void> {
  const wanted = serialNumbers.toSorted().join();
  for (const { trusted, chain } of await envoy.certificates()) {
    const trusts = trusted
      .map(({ serialNumber }) => serialNumber)
      .toSorted()
      .join();
    if (trusts !== wanted)
      throw new Error(`${name} trusts the roots with serial numbers ${trusts}, not just ${wanted}`);
    if (!chain[0]?.uriSans.includes(spiffeId(name))) throw new Error(`${name} shows a certificate of somebody else`);
  }
}

/** How the last certificate of a CA that was rotated away is turned down. */
export interface Refusal {
  /** By a proxy that is called with it. */
  readonly asClient: string;
  /** By a proxy that calls a server with it. */
  readonly asServer: string;
}

/**
 * The witness is taken by the proxies with its new certificate, and refused with the one of `old`, as client and as server.
 * @throws Error when it is not so
 */
export async function checkOldCaRefused(
  { proxies, witness }: World,
  old: string,
  signal: AbortSignal,
): Promise<Refusal> {
  let asClient = '';
  for (const proxy of proxies.all) {
    const call = (files: TlsFiles) => callServer(proxy.inboundPort, files, proxy.spiffeId, signal);
    await call(witness.files());
    asClient = await refusalOf(call(witness.filesOf(old)), `${proxy.name} takes a client with a certificate of ${old}`);
  }
  const caller = proxies.all.find(({ name }) => name === WITNESS_CALLER);
  if (caller === undefined) throw new TypeError(`there is no ${WITNESS_CALLER}`);
  const asked = await callWitness(caller, proxies.witnessPort, witness.files());
  if (asked.status !== 200) throw new Error(`${caller.name} refuses a server with a new certificate: ${asked.text}`);
  const { status, text } = await callWitness(caller, proxies.witnessPort, witness.filesOf(old));
  const asServer = /CERTIFICATE_VERIFY_FAILED[\w:]*?at_depth_\d:_(\w+)/.exec(text)?.[1];
  if (status !== 503 || asServer === undefined) {
    throw new Error(`${caller.name} does not refuse a server with a certificate of ${old}: ${status} ${text}`);
  }
  return { asClient, asServer: asServer.replaceAll('_', ' ') };
}

/** TLS's alert where there is one. */
function refusalOf(call: Promise<unknown>, otherwise: string): Promise<string> {
  return call.then(
    () => Promise.reject(new Error(otherwise)),
    (error: unknown) => /\balert [a-z ]+/.exec(messageOf(error))?.[0] ?? messageOf(error),
  );
}

async function callWitness(
  caller: MeshProxy,
  port: number,
  files: TlsFiles,
): Promise<{ status: number; text: string }> {
  const server = await startServer(files, caller.spiffeId, port);
  try {
    return await new Promise((resolve, reject) => {
      const path = egressPath(WITNESS, 'new', '');
      const call = request({ host: '127.0.0.1', port: caller.egressPort, path, agent: false }, (answer) => {
        let text = '';
        answer.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
        });
        answer.once('error', reject);
        answer.once('end', () => resolve({ status: answer.statusCode ?? 0, text: text.trim() }));
      });
      call.once('error', reject);
      call.end();
    });
  } finally {
    await server.close();
  }
}

const serialNumberOf = (pem: string) => new X509Certificate(pem).serialNumber.toLowerCase().replace(/^0+/, '');
const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));
