import { X509Certificate } from 'node:crypto';
import type { IssuerDeps } from '../../../src/issuer/issuer.ts';
import { loadPrivateKey } from '../../../src/x509/key-pair.ts';
import { decodePem } from '../../../src/x509/pem.ts';
import { X509Error } from '../../../src/x509/x509-error.ts';
import { confFieldError, loadText } from '../../shared/load-text.ts';
import type { TlsAuth } from './auth-conf.ts';
import type { LoginMethod } from './login-source.ts';

const CERT_FIELD = 'fromCp.auth.tls.clientCert';
const KEY_FIELD = 'fromCp.auth.tls.clientKey';
const CERT_FIX = 'give the PEM of the client certificate, followed by its intermediate certificates';
const KEY_FIX = 'give the PEM of the private key that belongs to the client certificate, not encrypted';

/** Both PEM, only with the blocks that count. */
interface Pair {
  readonly certPem: string;
  readonly keyPem: string;
  readonly [name: string]: string;
}

/** A client certificate, shown in the TLS handshake of the login and of every connection after it. */
export function createTlsLogin(auth: TlsAuth, deps: Pick<IssuerDeps, 'load' | 'clock'>): LoginMethod<Pair> {
  return {
    place: auth,
    async load(signal) {
      const [certText, keyText] = await Promise.all([
        loadText(deps, auth.clientCert, CERT_FIELD, signal),
        loadText(deps, auth.clientKey, KEY_FIELD, signal),
      ]);
      return readPair(certText, keyText);
    },
    async prepare(pair) {
      const { certPem, keyPem } = pair;
      const suspicion = suspicionOf(certPem, deps.clock.now());
      return {
        ok: true,
        value: {
          body: auth.role === '' ? {} : { name: auth.role },
          clientCertificate: { certPem, keyPem },
          ...(suspicion !== undefined && { suspicion }),
        },
      };
    },
  };
}

/** @throws ConfigError naming the field */
function readPair(certText: string, keyText: string): Pair {
  const key = attempt(KEY_FIELD, KEY_FIX, () => loadPrivateKey(keyText));
  const certificates = attempt(CERT_FIELD, CERT_FIX, () =>
    decodePem(certText)
      .filter(({ label }) => label === 'CERTIFICATE')
      .map(({ der }) => new X509Certificate(der)),
  );
  if (certificates.length === 0) {
    throw confFieldError(CERT_FIELD, 'holds no certificate: there is no PEM block CERTIFICATE in it', CERT_FIX);
  }
  const leaf = certificates.find((one) => one.checkPrivateKey(key));
  if (leaf === undefined) {
    throw confFieldError(KEY_FIELD, `does not belong to the certificate in ${CERT_FIELD}`, KEY_FIX);
  }
  // A server reads the certificate first; the order of the others is free since TLS 1.3 (RFC 8446 section 4.4.2).
  const inOrder = [leaf, ...certificates.filter((one) => one !== leaf)];
  return {
    certPem: inOrder.map((one) => one.toString()).join(''),
    keyPem: key.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
}

function attempt<T>(field: string, fix: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    const why = cause instanceof X509Error ? cause.message : 'OpenSSL cannot read it';
    // No cause along: OpenSSL's own words may quote what it read.
    throw confFieldError(field, `cannot be used: ${why}`, fix);
  }
}

function suspicionOf(certPem: string, now: Date): string | undefined {
  const leaf = new X509Certificate(certPem);
  if (new Date(leaf.validTo) < now) return `the certificate of ${CERT_FIELD} expired at ${leaf.validTo}`;
  if (new Date(leaf.validFrom) > now) return `the certificate of ${CERT_FIELD} is not valid before ${leaf.validFrom}`;
  return undefined;
}
