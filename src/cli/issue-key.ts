import { createPublicKey } from 'node:crypto';
import { join } from 'node:path';
import { parseCertificate } from '../x509/certificate.ts';
import { createCsr } from '../x509/create-csr.ts';
import { generateKeyPair, type KeyPair, loadPrivateKey } from '../x509/key-pair.ts';
import { decodePem, encodePem } from '../x509/pem.ts';
import { type KeyType, parseSubjectPublicKey } from '../x509/subject-public-key.ts';
import { X509Error } from '../x509/x509-error.ts';
import { CliError } from './cli-error.ts';
import { EXIT } from './exit-code.ts';
import { readFileText } from './read-file-text.ts';

const MAX_KEY_BYTES = 64 * 1024;
const MAX_CERTIFICATE_BYTES = 64 * 1024;
/** Best first; what a backend allows of them is used. */
const PREFERRED: readonly KeyType[] = ['EC-P256', 'EC-P384', 'RSA-2048', 'RSA-3072', 'RSA-4096'];

/** With what a certificate is asked for. */
export interface PreparedKey {
  /** PEM; undefined when the key is made elsewhere. */
  readonly csr?: string;
  /** PEM of the certificate that is there already. */
  readonly current?: string;
  /** PKCS#8 PEM of a key made or kept here. */
  readonly privateKey?: string;
  readonly spkiDer?: Buffer;
}

/**
 * Key and certificate of an earlier run, with a request for the same names: while they stand, mesh-ca answers without asking its backend, which
 * may be down. Undefined when they are not both there, or do not belong together.
 */
export async function readKept(folder: string, dataplane: string): Promise<PreparedKey | undefined> {
  const keyPair = await readKeyPair(join(folder, `${dataplane}.key`));
  if (keyPair === undefined) return undefined;
  try {
    const current = await readFileText(join(folder, `${dataplane}.crt`), MAX_CERTIFICATE_BYTES, 'the certificate');
    const [block] = decodePem(current);
    if (block === undefined) return undefined;
    const leaf = parseCertificate(block.der);
    if (!leaf.spkiDer.equals(keyPair.spkiDer)) return undefined;
    const csr = encodePem('CERTIFICATE REQUEST', createCsr(keyPair, leaf));
    return { csr, current, privateKey: keyPem(keyPair), spkiDer: keyPair.spkiDer };
  } catch (error) {
    if (error instanceof X509Error || (error instanceof CliError && isMissing(error.cause))) return undefined;
    throw error;
  }
}

/** The key in a file of an earlier run; undefined when there is no such file. */
export async function readKeyPair(file: string): Promise<KeyPair | undefined> {
  let text: string;
  try {
    text = await readFileText(file, MAX_KEY_BYTES, 'the private key');
  } catch (error) {
    if (error instanceof CliError && isMissing(error.cause)) return undefined;
    throw error;
  }
  try {
    const privateKey = loadPrivateKey(text);
    const spkiDer = createPublicKey(privateKey).export({ type: 'spki', format: 'der' });
    const { type } = parseSubjectPublicKey(spkiDer);
    return { type, privateKey, spkiDer, pkcs8Der: privateKey.export({ type: 'pkcs8', format: 'der' }) };
  } catch (error) {
    if (!(error instanceof X509Error)) throw error;
    throw new CliError(`could not use the private key in ${file}`, {
      exitCode: EXIT.request,
      why: [error.message],
      fix: 'move the file away, or make a new key and certificate: add --force',
      cause: error,
    });
  }
}

const isMissing = (error: unknown): boolean => error instanceof Error && 'code' in error && error.code === 'ENOENT';

/** A new key of the best type that the backend signs. */
export function makeKeyPair(keyTypes: readonly string[]): Promise<KeyPair> {
  const type = PREFERRED.find((one) => keyTypes.includes(one));
  if (type !== undefined) return generateKeyPair(type);
  throw new CliError('the backend does not sign keys that are made here', {
    exitCode: EXIT.request,
    why: [keyTypes.length === 0 ? 'it tells no key type at all' : `it signs only ${keyTypes.join(', ')}`],
    fix: 'let the key be made there: add --key-from-server (the private key then crosses the network once)',
  });
}

/** PKCS#8 PEM. */
export const keyPem = (keyPair: KeyPair): string => encodePem('PRIVATE KEY', keyPair.pkcs8Der);
