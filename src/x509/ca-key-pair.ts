import { createPublicKey, type KeyObject } from 'node:crypto';
import { type Certificate, parseCertificate } from './certificate.ts';
import { loadPrivateKey } from './key-pair.ts';
import { decodePem, type PemBlock } from './pem.ts';
import { X509Error } from './x509-error.ts';

/** A CA's certificate, its issuers as far as the file holds them, and its key. */
export interface CaKeyPair {
  /** In the file's order; the first is the one that the key belongs to. Never empty. */
  readonly chain: readonly Certificate[];
  readonly privateKey: KeyObject;
}

/**
 * Loads what a `provided` backend is configured with. Messages are those of Go's `tls.X509KeyPair`, because Kuma shows them and people
 * search for them; the checks run in Go's order. Whether the certificates are good CAs is not looked at here.
 *
 * @throws X509Error rules `ca-certificate-pem`, `ca-key-pem`, `ca-certificate` (with `index` in the chain), `ca-key-parse`, `ca-key-type`,
 *   `ca-key`
 */
export function loadCaKeyPair(certPem: string, keyPem: string): CaKeyPair {
  const certificateDers = certificateBlocks(decodePem(certPem));
  requireKeyBlock(decodePem(keyPem));
  const chain = certificateDers.map(parseInChain);
  const first = chain[0];
  if (first === undefined) throw new TypeError('a chain is never empty');
  const privateKey = parseKey(keyPem);
  const publicKey = certificateKey(first);
  if (publicKey.asymmetricKeyType !== privateKey.asymmetricKeyType) {
    throw new X509Error('ca-key-type', 'tls: private key type does not match public key type');
  }
  if (!createPublicKey(privateKey).equals(publicKey)) {
    throw new X509Error('ca-key', 'tls: private key does not match public key');
  }
  return { chain, privateKey };
}

function certificateBlocks(blocks: readonly PemBlock[]): Buffer[] {
  const found = blocks.filter((block) => block.label === 'CERTIFICATE');
  if (found.length > 0) return found.map((block) => block.der);
  const labels = blocks.map((block) => block.label);
  if (labels.length === 0) {
    throw new X509Error('ca-certificate-pem', 'tls: failed to find any PEM data in certificate input');
  }
  if (labels.length === 1 && labels[0]?.endsWith('PRIVATE KEY')) {
    throw new X509Error(
      'ca-certificate-pem',
      'tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched',
    );
  }
  throw new X509Error(
    'ca-certificate-pem',
    `tls: failed to find "CERTIFICATE" PEM block in certificate input after skipping PEM blocks of the following types: [${labels.join(' ')}]`,
  );
}

function requireKeyBlock(blocks: readonly PemBlock[]): void {
  const labels = blocks.map((block) => block.label);
  if (labels.some((label) => label === 'PRIVATE KEY' || label.endsWith(' PRIVATE KEY'))) return;
  if (labels.length === 0) throw new X509Error('ca-key-pem', 'tls: failed to find any PEM data in key input');
  if (labels.length === 1 && labels[0] === 'CERTIFICATE') {
    throw new X509Error('ca-key-pem', 'tls: found a certificate rather than a key in the PEM for the private key');
  }
  throw new X509Error(
    'ca-key-pem',
    `tls: failed to find PEM block with type ending in "PRIVATE KEY" in key input after skipping PEM blocks of the following types: [${labels.join(' ')}]`,
  );
}

function parseInChain(der: Buffer, index: number): Certificate {
  try {
    return parseCertificate(der);
  } catch (cause) {
    if (!(cause instanceof X509Error)) throw cause;
    throw new X509Error('ca-certificate', `x509: malformed certificate: ${cause.message}`, { cause, index });
  }
}

function parseKey(keyPem: string): KeyObject {
  try {
    return loadPrivateKey(keyPem);
  } catch (cause) {
    if (!(cause instanceof X509Error)) throw cause;
    throw new X509Error('ca-key-parse', `tls: failed to parse private key: ${cause.message}`, { cause });
  }
}

function certificateKey(certificate: Certificate): KeyObject {
  try {
    return certificate.keyObject();
  } catch (cause) {
    if (!(cause instanceof X509Error)) throw cause;
    throw new X509Error('ca-key-type', 'tls: unknown public key algorithm', { cause });
  }
}
