import { copyFile, mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Demo, ROOT } from '../demo.ts';
import { runCommand } from '../support/run-command.ts';

export interface ProvidedCa {
  /** The intermediate, then the root. */
  readonly chainPem: string;
  /** Of the intermediate. Never printed. */
  readonly keyPem: string;
}

/** docs/provided-ca.md has the same: a root, a request for an intermediate, and the root's signature. */
export const OPENSSL_COMMANDS: readonly string[] = [
  'openssl req -config provided-ca.cnf -x509 -extensions root -days 3650 -newkey rsa:2048 -nodes -subj /O=Shop/CN=shop-root -keyout root.key -out root.crt',
  'openssl req -config provided-ca.cnf -new -newkey rsa:2048 -nodes -subj /O=Shop/CN=shop-intermediate -keyout intermediate.key -out intermediate.csr',
  'openssl x509 -req -in intermediate.csr -CA root.crt -CAkey root.key -CAcreateserial -days 1825 -extfile provided-ca.cnf -extensions intermediate -out intermediate.crt',
];

/** A root and an intermediate CA made by openssl: what an operator brings along. */
export async function makeProvidedCa({ screen, signal, folder }: Demo): Promise<ProvidedCa> {
  const cwd = join(folder, 'provided-ca');
  await mkdir(cwd, { mode: 0o700 });
  await copyFile(join(ROOT, 'examples/provided-ca.cnf'), join(cwd, 'provided-ca.cnf'));
  for (const command of OPENSSL_COMMANDS) {
    await runCommand(command, command.split(' '), { cwd, signal });
  }
  const read = (name: string) => readFile(join(cwd, name), 'utf8');
  screen.step('openssl: a root CA and an intermediate CA for the provided backend (commands: docs/provided-ca.md)');
  return {
    chainPem: (await read('intermediate.crt')) + (await read('root.crt')),
    keyPem: await read('intermediate.key'),
  };
}
