import { X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { ConfigError } from '../../src/issuer/errors.ts';
import type { DataSource, IssuerContext, IssuerDeps } from '../../src/issuer/issuer.ts';
import { decodePem } from '../../src/x509/pem.ts';
import { X509Error } from '../../src/x509/x509-error.ts';
import { createVaultClient, type VaultClient } from './client.ts';
import type { VaultConf } from './config.ts';
import { remember } from './remembered.ts';
import { createTransport, type Transport } from './transport.ts';

/** Loads what the conf points to, once, and makes the client of it. */
export interface Connector {
  /** @throws ConfigError when the token or the CA certificate cannot be loaded or used */
  get(signal: AbortSignal): Promise<VaultClient>;
  /** Vault refused the token: the next `get` loads it anew, for files that an agent keeps fresh. Connections stay. */
  reloadToken(): void;
  close(): void;
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
    reloadToken: () => token.forget(),
    close: () => transport.peek()?.close(),
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
