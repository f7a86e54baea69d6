import { ConfigError } from '../../src/issuer/errors.ts';
import type { CallOptions, IssuerDeps } from '../../src/issuer/issuer.ts';
import { loadCaKeyPair } from '../../src/x509/ca-key-pair.ts';
import type { Certificate } from '../../src/x509/certificate.ts';
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
