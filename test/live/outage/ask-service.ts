import { createCsr } from '../../../src/x509/create-csr.ts';
import { generateKeyPair } from '../../../src/x509/key-pair.ts';
import { encodePem } from '../../../src/x509/pem.ts';
import { type Answer, parseJson } from '../../support/test-app.ts';
import type { WatchedVault } from './watched-vault.ts';

/** What all these meshes call their backend: two meshes may use the same name. */
export const BACKEND = 'vault-1';

/** A mesh-ca, wherever it runs. */
export interface Service {
  address: string;
}

export async function call(service: Service, method: string, path: string, body?: unknown): Promise<Answer> {
  const response = await fetch(`${service.address}${path}`, {
    method,
    ...(body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, text, json: parseJson(text) };
}

/** `call` that must succeed. */
export async function ok(service: Service, method: string, path: string, body?: unknown): Promise<Answer> {
  const answer = await call(service, method, path, body);
  if (answer.status >= 400) throw new Error(`${method} ${path}: ${answer.status} ${answer.text}`);
  return answer;
}

/** Answers what stores the mesh with this lifetime of its certificates: another one than before makes them all due. */
export async function useVault(
  service: Service,
  vault: WatchedVault,
  mesh: string,
  address = vault.address,
): Promise<(expiration: string, fromCp?: object) => Promise<Answer>> {
  const { token, mount, role } = await vault.setUp(mesh);
  await ok(service, 'PUT', `/meshes/${mesh}`, { type: 'Mesh', name: mesh });
  await putToken(service, mesh, token);
  return (expiration, fromCp = {}) =>
    call(service, 'PUT', `/meshes/${mesh}`, {
      type: 'Mesh',
      name: mesh,
      mtls: {
        skipValidation: true,
        enabledBackend: BACKEND,
        backends: [
          {
            name: BACKEND,
            type: 'vault',
            dpCert: { rotation: { expiration } },
            conf: { fromCp: { address, pki: mount, role, auth: { token: { secret: 'vault-token' } }, ...fromCp } },
          },
        ],
      },
    });
}

export function putToken(service: Service, mesh: string, token: string): Promise<Answer> {
  const data = Buffer.from(token).toString('base64');
  return ok(service, 'PUT', `/meshes/${mesh}/secrets/vault-token`, { type: 'Secret', mesh, name: 'vault-token', data });
}

/** Keys are dear, and whose a key is does not matter here: all data planes of a test have the same one. */
export async function makeCsr(): Promise<string> {
  const nobody = { uriSans: [], dnsNames: [], commonName: '' };
  return encodePem('CERTIFICATE REQUEST', createCsr(await generateKeyPair('EC-P256'), nobody));
}

/** The service of a data plane is called as itself. */
export function ask(service: Service, mesh: string, dataplane: string, body: object): Promise<Answer> {
  const tags = { 'kuma.io/service': dataplane };
  return call(service, 'POST', `/meshes/${mesh}/dataplanes/${dataplane}/_certificate`, { tags, ...body });
}

export const namesOf = (prefix: string, count: number): string[] =>
  Array.from({ length: count }, (_, index) => `${prefix}-${index}`);

/** Works on all of them, so many at a time. */
export async function forAll<T>(items: readonly T[], work: (item: T) => Promise<unknown>, atOnce = 24): Promise<void> {
  let next = 0;
  const worker = async () => {
    for (let item = items[next++]; item !== undefined; item = items[next++]) await work(item);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}

/** Asks for all of them round and round, so many at a time, whatever is answered; until `goesOn` says no. */
export async function askAgainAndAgain<T>(
  items: readonly T[],
  work: (item: T) => Promise<unknown>,
  goesOn: () => boolean,
  atOnce = 24,
): Promise<number> {
  let asked = 0;
  const worker = async () => {
    while (goesOn()) {
      const item = items[asked++ % items.length];
      if (item !== undefined) await work(item);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return asked;
}

export const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Waits for something that must come. */
export async function until(what: string, isSo: () => boolean | Promise<boolean>, withinMs = 10_000): Promise<void> {
  const startedMs = performance.now();
  while (!(await isSo())) {
    if (performance.now() - startedMs > withinMs) throw new Error(`not within ${withinMs} ms: ${what}`);
    await sleep(20);
  }
}
