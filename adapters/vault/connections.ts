import { createHash, X509Certificate } from 'node:crypto';
import { createSecureContext, type SecureContext } from 'node:tls';
import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import { decodePem } from '../../src/x509/pem.ts';
import { X509Error } from '../../src/x509/x509-error.ts';
import { confFieldError, loadText } from '../shared/load-text.ts';
import type { ClientCertificate } from './auth/token-source.ts';
import type { VaultConf } from './config.ts';
import {
  createCounts,
  createTransport,
  type Transport,
  type TransportCounts,
  type TransportReply,
  type TransportRequest,
} from './transport.ts';

/**
 * The connections to one Vault. What they trust and show comes from data sources that may change: then new connections take the place of the old,
 * whose calls under way still finish.
 */
export interface Connections {
  /** True when `open` has nothing to do. */
  readonly isOpen: boolean;
  /** Since the start, over all that took each other's place. */
  readonly counts: Readonly<TransportCounts>;
  /** Makes the connections when there are none, with nothing to show. @throws ConfigError when the CA certificate cannot be loaded or used */
  open(signal: AbortSignal): Promise<void>;
  /**
   * Connections that trust what the conf says now and show `certificate`: those in use where nothing differs. Others come into use by `adopt`, or
   * have to be closed by `discard`.
   * @throws ConfigError
   */
  candidate(certificate: ClientCertificate | undefined, signal: AbortSignal): Promise<Candidate>;
  /** Sends over the connections in use. */
  send(request: TransportRequest): Promise<TransportReply>;
  /** Ends calls under way; what comes later may still be sent. */
  endCalls(): void;
  close(): void;
}

export interface Candidate extends Pick<Transport, 'send'> {
  adopt(): void;
  discard(): void;
}

/** Codes of OpenSSL's verification, and of Node's check of names. */
const DISTRUST = /CERT|SELF_SIGNED|UNABLE_TO_|INVALID_CA/;
/** Data sources are read again no sooner than this after the last time. */
const RELOAD_AFTER_MS = 1_000;
const CA_FIELD = 'fromCp.tls.caCert';

interface Held {
  /** Hash over what the connections trust and show. */
  readonly key: string;
  readonly transport: Transport;
}

export function createConnections(
  conf: Pick<VaultConf, 'endpoint' | 'tls'>,
  deps: Pick<IssuerDeps, 'load' | 'clock' | 'log' | 'onRequest'>,
): Connections {
  const isHttps = conf.endpoint.startsWith('https:');
  const { skipVerify, serverName } = conf.tls;
  const counts = createCounts();
  let held: Held | undefined;
  let isClosed = false;
  /** What a login showed last, for connections that are made anew for another reason. */
  let shown: ClientCertificate | undefined;
  /** The server's certificate was not trusted: the CA certificate may have been replaced. */
  let isDistrusted = false;
  let madeAtMs = 0;

  async function make(certificate: ClientCertificate | undefined, signal: AbortSignal): Promise<Held> {
    const caPem = conf.tls.caCert && (await loadText(deps, conf.tls.caCert, CA_FIELD, signal));
    const key = createHash('sha256')
      .update(JSON.stringify([caPem ?? '', certificate?.certPem ?? '', certificate?.keyPem ?? '']))
      .digest('base64url');
    madeAtMs = deps.clock.monotonicMs();
    if (held?.key === key) return held;
    const secureContext = createTlsContext(caPem, certificate);
    const tls = { secureContext, skipVerify, serverName };
    return { key, transport: createTransport(isHttps, tls, deps.clock, counts, deps.onRequest) };
  }

  function use(next: Held): void {
    if (next === held) return;
    held?.transport.retire();
    held = next;
    if (isClosed) next.transport.close();
  }

  const mayReload = () => isDistrusted && deps.clock.monotonicMs() - madeAtMs >= RELOAD_AFTER_MS;

  return {
    counts,
    get isOpen() {
      return held !== undefined && !mayReload();
    },
    async open(signal) {
      if (held !== undefined && mayReload()) {
        isDistrusted = false;
        use(await make(shown, signal));
      }
      if (held !== undefined) return;
      const made = await make(shown, signal);
      if (held !== undefined) return;
      if (isHttps && skipVerify) {
        deps.log.warn({ endpoint: conf.endpoint }, 'tls.skipVerify is set: anybody in between can pose as this vault');
      }
      use(made);
    },
    async candidate(certificate, signal) {
      const made = await make(certificate, signal);
      return {
        send: (request) => made.transport.send(request),
        adopt() {
          shown = certificate;
          use(made);
        },
        discard() {
          if (made !== held) made.transport.close();
        },
      };
    },
    async send(request) {
      if (held === undefined) throw new Error('the connection is not open');
      try {
        return await held.transport.send(request);
      } catch (error) {
        isDistrusted ||= error instanceof Error && 'code' in error && DISTRUST.test(String(error.code));
        throw error;
      }
    },
    endCalls: () => held?.transport.endCalls(),
    close() {
      isClosed = true;
      held?.transport.close();
    },
  };
}

/** A given CA takes the place of the system's, and only its certificates are used of the text. */
function createTlsContext(caPem: string | undefined, certificate: ClientCertificate | undefined): SecureContext {
  const shown = certificate && { cert: certificate.certPem, key: certificate.keyPem };
  if (caPem === undefined) return createSecureContext(shown);
  try {
    const blocks = decodePem(caPem).filter(({ label }) => label === 'CERTIFICATE');
    if (blocks.length === 0) throw new X509Error('no-certificate', 'there is no PEM block CERTIFICATE in it');
    // OpenSSL would silently leave out what it cannot read.
    return createSecureContext({ ...shown, ca: blocks.map(({ der }) => new X509Certificate(der).toString()) });
  } catch (cause) {
    const why = cause instanceof X509Error ? cause.message : 'OpenSSL cannot read it';
    throw confFieldError(
      CA_FIELD,
      `holds no usable CA certificate: ${why}`,
      "give the PEM of the CA that signed the certificate of Vault's listener",
      cause,
    );
  }
}
