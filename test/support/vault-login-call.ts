import type { LoginCall } from '../../adapters/vault/auth/token-source.ts';
import type { VaultConf } from '../../adapters/vault/config.ts';
import { createConnections } from '../../adapters/vault/connections.ts';
import { createExchange } from '../../adapters/vault/exchange.ts';
import { logIn } from '../../adapters/vault/token-calls.ts';
import type { IssuerContext, IssuerDeps } from '../../src/issuer/issuer.ts';

/** Logs in over the adapter's own connections, without the keeper of tokens around it. A connection for each login. */
export function createLoginCall(context: IssuerContext, conf: VaultConf, deps: IssuerDeps): LoginCall {
  const exchange = createExchange({ ...conf, mesh: context.mesh, clock: deps.clock });
  return async (path, body, signal, certificate) => {
    const candidate = await createConnections(conf, deps).candidate(certificate, signal);
    try {
      return await logIn(exchange, candidate, { path, body }, signal);
    } finally {
      candidate.discard();
    }
  };
}
