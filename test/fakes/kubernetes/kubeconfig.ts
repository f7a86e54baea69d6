import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { objectAt, textAt } from './json.ts';

/** Where and as whom a client logs in. */
export interface Login {
  readonly address: string;
  readonly caCertPem: string;
  readonly token: string;
}

/** Writes a kubeconfig with one cluster, one user and one context. Returns its path. */
export async function writeKubeconfig(folder: string, user: string, login: Login, namespace: string): Promise<string> {
  const file = join(folder, `${user}-${new URL(login.address).port}.kubeconfig`);
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      {
        name: 'test',
        cluster: {
          server: login.address,
          'certificate-authority-data': Buffer.from(login.caCertPem).toString('base64'),
        },
      },
    ],
    users: [{ name: user, user: { token: login.token } }],
    contexts: [{ name: 'test', context: { cluster: 'test', user, namespace } }],
    'current-context': 'test',
  };
  await writeFile(file, stringify(config), { mode: 0o600 });
  return file;
}

/** Reads a kubeconfig as `writeKubeconfig` writes it: the first cluster and the first user, which has a token. */
export async function readKubeconfig(file: string): Promise<Login> {
  const config: unknown = parse(await readFile(file, 'utf8'));
  const first = (key: string) => {
    const list = objectAt({ config }, 'config')[key];
    return Array.isArray(list) ? list[0] : undefined;
  };
  const cluster = objectAt(first('clusters'), 'cluster');
  const address = textAt(cluster, 'server');
  const token = textAt(objectAt(first('users'), 'user'), 'token');
  const ca = textAt(cluster, 'certificate-authority-data');
  if (address === undefined || token === undefined || ca === undefined) {
    throw new Error(`${file} names no server, CA or token`);
  }
  return { address, token, caCertPem: Buffer.from(ca, 'base64').toString('utf8') };
}
