import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runProgram } from './run-program.ts';

export interface ServerCertificate {
  readonly certFile: string;
  readonly keyFile: string;
  readonly caCertFile: string;
}

const OPENSSL_TIMEOUT_MS = 20_000;
const NEW_EC_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

/** A CA of its own and a TLS server certificate from it, made by openssl in `folder`. `names` are subject alternative names as openssl writes them. */
export async function makeServerCertificate(folder: string, names: readonly string[]): Promise<ServerCertificate> {
  const file = (name: string) => join(folder, name);
  const openssl = async (...args: string[]) => {
    const result = await runProgram(['openssl', ...args], { timeoutMs: OPENSSL_TIMEOUT_MS });
    if (result.exitCode !== 0) throw new Error(`openssl ${args[0]} failed: ${result.output.trim()}`);
  };
  await openssl(
    'req',
    '-x509',
    ...NEW_EC_KEY,
    '-keyout',
    file('ca.key'),
    '-out',
    file('ca.pem'),
    '-days',
    '2',
    '-subj',
    '/CN=test server CA',
  );
  await openssl(
    'req',
    '-new',
    ...NEW_EC_KEY,
    '-keyout',
    file('server.key'),
    '-out',
    file('server.csr'),
    '-subj',
    '/CN=test server',
  );
  await writeFile(
    file('server.ext'),
    `subjectAltName=${names.join(',')}\nbasicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\n`,
  );
  await openssl(
    ...['x509', '-req', '-in', file('server.csr'), '-CA', file('ca.pem'), '-CAkey', file('ca.key'), '-CAcreateserial'],
    ...['-days', '2', '-extfile', file('server.ext'), '-out', file('server.pem')],
  );
  return { certFile: file('server.pem'), keyFile: file('server.key'), caCertFile: file('ca.pem') };
}
