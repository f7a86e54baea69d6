import { createPublicKey, type KeyObject } from 'node:crypto';
import type { Violation } from '../../src/issuer/errors.ts';
import type { CallOptions, IssuerDeps } from '../../src/issuer/issuer.ts';
import { loadCaKeyPair } from '../../src/x509/ca-key-pair.ts';
import type { Certificate } from '../../src/x509/certificate.ts';
import { loadPrivateKey } from '../../src/x509/key-pair.ts';
import { X509Error } from '../../src/x509/x509-error.ts';
import { readCertificates } from '../shared/ca-certificates.ts';
import type { CaKeyPair } from '../shared/in-process-ca.ts';
import { findCaPath, pathOf } from './ca-path.ts';
import type { ProvidedConf } from './config.ts';

export interface CaSources {
  readonly certPem: string;
  readonly keyPem: string;
}

export interface LoadedCa extends CaKeyPair {
  /** The certificates in the order of the file. */
  readonly file: readonly [Certificate, ...Certificate[]];
}

/**
 * The key first, as Kuma: which of two failures is told is part of the documented behaviour.
 * @throws ConfigError `could not load data: ...`
 */
export async function loadSources(conf: ProvidedConf, deps: IssuerDeps, call: CallOptions): Promise<CaSources> {
  const key = await deps.load(conf.key, call);
  const cert = await deps.load(conf.cert, call);
  return { certPem: cert.toString('utf8'), keyPem: key.toString('utf8') };
}

/**
 * The last certificate of the path is what proxies trust, also when it is not self-signed: that is how Kuma and Envoy take such a file.
 * Only with `skipValidation` it comes that far.
 * @throws X509Error with the words of Go's TLS library
 */
export function readCa({ certPem, keyPem }: CaSources): LoadedCa {
  const { chain, privateKey } = loadCaKeyPair(certPem, keyPem);
  const [signing, ...rest] = chain;
  if (signing === undefined) throw new TypeError('a CA key pair without a certificate');
  const file: [Certificate, ...Certificate[]] = [signing, ...rest];
  return { file, path: pathOf(file, findCaPath(file)), privateKey };
}

/** Where and how Kuma reports why `readCa` failed; a key that belongs to a later certificate of the file is pointed out. */
export function pairViolations(error: X509Error, sources: CaSources): Violation[] {
  if (error.index !== undefined && error.index > 0) {
    return [{ field: `cert[${error.index}]`, message: `not a valid x509 certificate: ${error.message}` }];
  }
  const violations = [{ field: 'cert', message: `not a valid TLS key pair: ${error.message}` }];
  const owner = error.rule === 'ca-key' || error.rule === 'ca-key-type' ? ownerOfKey(sources) : -1;
  if (owner > 0) {
    const message = 'the private key belongs to this certificate: put it first in the file, its issuers after it';
    violations.push({ field: `cert[${owner}]`, message });
  }
  return violations;
}

function ownerOfKey({ certPem, keyPem }: CaSources): number {
  const publicKey = createPublicKey(loadPrivateKey(keyPem));
  return readCertificates(certPem).findIndex((one) => hasKey(one, publicKey));
}

function hasKey(certificate: Certificate, publicKey: KeyObject): boolean {
  try {
    return certificate.keyObject().equals(publicKey);
  } catch (error) {
    if (error instanceof X509Error) return false;
    throw error;
  }
}
