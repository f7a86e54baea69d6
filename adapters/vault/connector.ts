import type { IssuerContext, IssuerDeps } from '../../src/issuer/issuer.ts';
import { orAborted } from '../../src/runtime/or-aborted.ts';
import { createTokenSource } from './auth/create-token-source.ts';
import { createVaultClient, type VaultClient } from './client.ts';
import type { VaultConf } from './config.ts';
import { createConnections } from './connections.ts';
import { createExchange } from './exchange.ts';
import { type Outcome, valueOrThrow } from './failure.ts';
import { createLogins } from './logins.ts';
import { createTokenCalls } from './token-calls.ts';
import { createTokenKeeper } from './token-keeper.ts';
import type { TokenStatus } from './token-status.ts';
import type { TransportCounts } from './transport.ts';

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
  /** Loads what a login needs, for its own sake. @throws ConfigError naming the field */
  loadCredentials(signal: AbortSignal): Promise<void>;
  /** The same client, token and connections, but no call waits longer than this for its answer. */
  hasty(timeoutMs: number): VaultClient;
  /** `work(await get(signal))`, with a failed login as an outcome instead of an error. @throws ConfigError */
  call<T>(work: (client: VaultClient) => Promise<Outcome<T>>, signal: AbortSignal): Promise<Outcome<T>>;
  /** As `TokenKeeper.tryAgain`. */
  tryAgain(signal: AbortSignal): Promise<void>;
  /** What is known of the token, without asking. */
  status(): TokenStatus;
  /** What was sent, and what was done about broken connections. */
  readonly counts: Readonly<TransportCounts>;
  /** Revokes a token that came from a login (one call, short deadline), ends calls under way and all connections. Idempotent. */
  close(): Promise<void>;
}

/**
 * @param closing fires before `close` is called, with the reason that calls under way reject with
 * @param onNewToken another token is in use: it may have other rights
 */
export function createConnector(
  context: IssuerContext,
  conf: VaultConf,
  deps: IssuerDeps,
  closing: AbortSignal,
  onNewToken: () => void,
): Connector {
  const { pki, role } = conf;
  const exchange = createExchange({ ...conf, mesh: context.mesh, clock: deps.clock });
  const connections = createConnections(conf, deps);
  const source = createTokenSource(context, conf, deps);
  const logins = createLogins({ exchange, clock: deps.clock, log: deps.log, closing });
  const keeper = createTokenKeeper({
    ...{ source, obtain, calls: createTokenCalls({ exchange, transport: connections, pki, role }), closing },
    ...{ clock: deps.clock, random: deps.random, log: deps.log, secrets: deps.secrets },
    onReplaced: onNewToken,
    checkIntervalMs: hasChangingData(conf.auth) ? deps.settings.vaultTokenChangeCheckIntervalMs : 0,
  });
  const clientOptions = { pki, role, exchange, transport: connections, tokens: keeper, closing };
  const client = createVaultClient(clientOptions);
  let closed: Promise<void> | undefined;

  /** Connections made for a login come into use together with its token. */
  async function obtain(signal: AbortSignal): ReturnType<typeof source.obtain> {
    const made: Awaited<ReturnType<typeof connections.candidate>>[] = [];
    let isUsed = false;
    try {
      const got = await source.obtain(async (path, body, inner, certificate) => {
        const candidate = await connections.candidate(certificate, inner);
        made.push(candidate);
        return logins.run(candidate, { path, body }, inner);
      }, signal);
      const last = made.at(-1);
      if (got.ok && last !== undefined) {
        last.adopt();
        isUsed = true;
      }
      return got;
    } finally {
      if (!isUsed) logins.discard(made);
    }
  }

  async function open(signal: AbortSignal): Promise<VaultClient> {
    signal.throwIfAborted();
    closing.throwIfAborted();
    if (!connections.isOpen) await orAborted(connections.open(signal), signal);
    return client;
  }

  async function close(): Promise<void> {
    await logins.close();
    connections.endCalls();
    try {
      await keeper.close();
    } finally {
      connections.close();
    }
  }

  return {
    open,
    async get(signal) {
      await open(signal);
      valueOrThrow(await keeper.current(signal));
      return client;
    },
    async loadCredentials(signal) {
      await orAborted(source.fingerprint(signal), signal);
    },
    hasty: (timeoutMs) => createVaultClient({ ...clientOptions, timeoutMs }),
    async call(work, signal) {
      await open(signal);
      const token = await keeper.current(signal);
      return token.ok ? work(client) : token;
    },
    tryAgain: keeper.tryAgain,
    status: keeper.status,
    counts: connections.counts,
    close() {
      closed ??= close();
      return closed;
    },
  };
}

/** Inline data never changes, and AWS's credentials look after themselves. */
function hasChangingData(auth: VaultConf['auth']): boolean {
  return Object.values(auth).some(
    (value) => typeof value === 'object' && (value.kind === 'secret' || value.kind === 'file'),
  );
}
