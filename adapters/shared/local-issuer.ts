import { ConfigError } from '../../src/issuer/errors.ts';
import {
  type CallOptions,
  type Issuer,
  type IssuerContext,
  type IssuerDeps,
  KEY_TYPES,
} from '../../src/issuer/issuer.ts';
import { X509Error } from '../../src/x509/x509-error.ts';
import { type CaKeyPair, createInProcessCa } from './in-process-ca.ts';
import { loadOnce } from './load-once.ts';

export interface LocalIssuerOptions {
  readonly context: IssuerContext;
  readonly deps: IssuerDeps;
  /** @throws ConfigError or X509Error saying what is wrong with the key pair */
  readonly load: (options: CallOptions) => Promise<CaKeyPair>;
  /** What an operator does about a CA that is expired: one sentence. */
  readonly renew: string;
}

const ABILITIES = { sign: true, signsCsrAsIs: false, issueKeyPair: false, keyTypes: KEY_TYPES } as const;

/** Every member of an issuer but `inspect`, for a CA that signs in this process. */
export function createLocalIssuer(options: LocalIssuerOptions): Omit<Issuer, 'inspect'> {
  const { context, deps } = options;
  const ca = loadOnce(async (call) => {
    try {
      return createInProcessCa(await options.load(call), deps, options.renew);
    } catch (error) {
      throw keyPairError(error, context);
    }
  }, deps.clock);

  return {
    subject: () => ({ commonName: '', dnsNames: [] }),
    async abilities({ signal }) {
      signal.throwIfAborted();
      return ABILITIES;
    },
    async sign(request, call) {
      call.signal.throwIfAborted();
      return (ca.peek() ?? (await ca.get(call))).sign(request);
    },
    async trustBundle(call) {
      call.signal.throwIfAborted();
      return (ca.peek() ?? (await ca.get(call))).bundle;
    },
    async close() {
      ca.close();
    },
  };
}

/** Kuma's words around the cause. Errors that are not about the key pair (a closed store, an abort) stay as they are. */
export function keyPairError(error: unknown, { mesh, backend }: IssuerContext): unknown {
  if (!(error instanceof ConfigError || error instanceof X509Error)) return error;
  return new ConfigError(`failed to load CA key pair for Mesh "${mesh}" and backend "${backend}": ${error.message}`, {
    cause: error,
    fix:
      (error instanceof ConfigError ? error.fix : undefined) ??
      'give a CA certificate and the private key that belongs to it',
  });
}
