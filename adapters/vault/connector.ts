import { X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { ConfigError } from '../../src/issuer/errors.ts';
import type { DataSource, IssuerContext, IssuerDeps } from '../../src/issuer/issuer.ts';
import { decodePem } from '../../src/x509/pem.ts';
import { X509Error } from '../../src/x509/x509-error.ts';
import type { AuthMethod, TokenLife } from './auth/token-source.ts';
import { createVaultClient, type VaultClient } from './client.ts';
import type { VaultConf } from './config.ts';
import type { Outcome } from './failure.ts';
import { remember } from './remembered.ts';
import { createTransport, type Transport } from './transport.ts';

/** The way to one Vault: connections, and a token that is kept alive and replaced behind the caller's back. No remote call before the first use. */
export interface Connector {
  /**
   * For calls without a token (`health`, `readCaChain`): nobody has to log in for them.
   * @throws ConfigError when the CA or client certificate cannot be loaded or used
   */
  open(signal: AbortSignal): Promise<VaultClient>;
  /**
   * As `open`, and a token is there. The client is always the same one and follows the token; a call that is answered 403 is repeated
   * once inside it when that brings a fresh token, so its callers do nothing about refused tokens.
   * @throws ConfigError when the token, or what a login needs, cannot be loaded or used; what the failure of a login stands for
   */
  get(signal: AbortSignal): Promise<VaultClient>;
  /** `work(await get(signal))`, with a failed login as an outcome instead of an error. @throws ConfigError */
  call<T>(work: (client: VaultClient) => Promise<Outcome<T>>, signal: AbortSignal): Promise<Outcome<T>>;
  /** What is known of the token, without asking. */
  status(): TokenStatus;
  /** Does nothing any more, and goes when nobody calls it: `get`'s client looks after refused tokens itself. */
  reloadToken(): void;
  /** Revokes a token that came from a login (one call, short deadline), ends calls under way and all connections. Idempotent. */
  close(): Promise<void>;
}

export interface TokenStatus {
  readonly method: AuthMethod;
  readonly type: TokenLife['type'];
  /** `unknown`: no token yet, or one that may not look itself up. */
  readonly expiresAt: Date | 'never' | 'unknown';
  readonly renewable: boolean;
  /** Why the last renewal, login or reading of the token failed. Undefined after the next success. Holds no secret. */
  readonly lastFailure: string | undefined;
}

const LOAD_TIMEOUT_MS = 10_000;
/** Batch tokens carry their own content and are long. */
const TOKEN = /^[\x21-\x7e]{1,8192}$/;

export function createConnector(
  context: IssuerContext,
  conf: VaultConf,
  deps: IssuerDeps,
  closing: AbortSignal,
): Connector {
  let current: { readonly token: string; readonly client: VaultClient } | undefined;

  const options = { clock: deps.clock, closing, loadTimeoutMs: LOAD_TIMEOUT_MS };
  const transport = remember(async (signal) => {
    const caCert = conf.tls.caCert;
    return openTransport(
      conf,
      caCert === undefined ? undefined : await loadText(deps, caCert, 'fromCp.tls.caCert', signal),
      deps,
    );
  }, options);
  const token = remember(
    async (signal) => ({ text: checkToken(await loadText(deps, conf.auth.token, TOKEN_FIELD, signal)) }),
    options,
  );

  return {
    async get(signal) {
      const { text } = token.peek() ?? (await token.get(signal));
      const wire = transport.peek() ?? (await transport.get(signal));
      if (current?.token !== text) {
        const { endpoint, endpointField, namespace, pki, role } = conf;
        const client = createVaultClient({
          ...{ endpoint, endpointField, namespace, pki, role, token: text, mesh: context.mesh },
          ...{ transport: wire, clock: deps.clock, closing },
        });
        current = { token: text, client };
      }
      return current.client;
    },
    async open(signal) {
      return this.get(signal);
    },
    async call(work, signal) {
      const outcome = await work(await this.get(signal));
      if (!outcome.ok && outcome.failure.kind === 'denied') token.forget();
      return outcome;
    },
    reloadToken: () => token.forget(),
    status: () => ({
      method: 'token',
      type: 'unknown',
      expiresAt: 'unknown',
      renewable: false,
      lastFailure: undefined,
    }),
    close: async () => transport.peek()?.close(),
  };
}

const TOKEN_FIELD = 'fromCp.auth.token';
const CA_FIELD = 'fromCp.tls.caCert';

function openTransport(conf: VaultConf, caPem: string | undefined, deps: IssuerDeps): Transport {
  const isHttps = conf.endpoint.startsWith('https:');
  if (isHttps && conf.tls.skipVerify) {
    deps.log.warn({ endpoint: conf.endpoint }, 'tls.skipVerify is set: anybody in between can pose as this vault');
  }
  return createTransport(isHttps, {
    secureContext: createTlsContext(caPem),
    skipVerify: conf.tls.skipVerify,
    serverName: conf.tls.serverName,
  });
}

/** A given CA takes the place of the system's, and only its certificates are used of the text. */
function createTlsContext(caPem: string | undefined) {
  if (caPem === undefined) return createSecureContext();
  try {
    const blocks = decodePem(caPem).filter(({ label }) => label === 'CERTIFICATE');
    if (blocks.length === 0) throw new X509Error('no-certificate', 'there is no PEM block CERTIFICATE in it');
    // OpenSSL would silently leave out what it cannot read.
    return createSecureContext({ ca: blocks.map(({ der }) => new X509Certificate(der).toString()) });
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

function checkToken(text: string): string {
  const trimmed = text.trim();
  if (TOKEN.test(trimmed)) return trimmed;
  throw confFieldError(
    TOKEN_FIELD,
    'holds no token: it has to be one word of printable ASCII',
    'store the token alone, as `vault token create -field=token` prints it',
  );
}

async function loadText(deps: IssuerDeps, source: DataSource, field: string, signal: AbortSignal): Promise<string> {
  try {
    return (await deps.load(source, { signal })).toString('utf8');
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw confFieldError(field, error.message, error.fix ?? 'store the secret, or correct the name', error);
  }
}

function confFieldError(field: string, message: string, fix: string, cause?: unknown): ConfigError {
  return new ConfigError(`${field}: ${message}`, {
    fix,
    violations: [{ field, message }],
    ...(cause === undefined ? {} : { cause }),
  });
}
