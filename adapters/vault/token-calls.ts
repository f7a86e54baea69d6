import type { z } from 'zod';
import type { LoginReply, TokenLife } from './auth/token-source.ts';
import { encodePath } from './client.ts';
import { type Call, type Exchange, isRefused } from './exchange.ts';
import type { Outcome } from './failure.ts';
import { anyReply } from './replies.ts';
import type { LookedUpToken } from './token-life.ts';
import { authReply, lifeOfAuth, lifeOfLookup, lookupReply } from './token-replies.ts';
import type { Transport } from './transport.ts';

/** The calls that a token's life takes. Each is made with the very token it is about, and with no other instead. */
export interface TokenCalls {
  lookUp(token: string, signal: AbortSignal): Promise<Outcome<LookedUpToken>>;
  renew(token: string, signal: AbortSignal): Promise<Outcome<TokenLife>>;
  /**
   * For a token that may not look itself up: whether Vault accepts it for anything at all that we need. Nothing is issued, see
   * `VaultClient.probe`.
   */
  isAccepted(token: string, signal: AbortSignal): Promise<Outcome<boolean>>;
  revoke(token: string, signal: AbortSignal): Promise<Outcome<unknown>>;
}

export interface TokenCallsOptions {
  readonly exchange: Exchange;
  /** The one of the token: Vault binds some to the certificate that the connection shows. */
  readonly transport: Pick<Transport, 'send'>;
  readonly pki: string;
  readonly role: string;
}

export function createTokenCalls({ exchange, transport, pki, role }: TokenCallsOptions): TokenCalls {
  const call = <S extends z.ZodType>(one: Call<S>, token: string, signal: AbortSignal) =>
    exchange({ repeat: 'always', ...one }, { token, transport }, signal);
  const name = encodePath(role);
  /** What can only be refused when the token is good: a body that asks for nothing. */
  const harmless = [
    { path: 'sys/capabilities-self', body: { paths: [`${pki}/sign/${role}`] } },
    { path: `${encodePath(pki)}/sign/${name}`, body: {} },
    { path: `${encodePath(pki)}/issue/${name}`, body: { ttl: 'none' } },
  ];

  return {
    async lookUp(token, signal) {
      const answer = await call({ method: 'GET', path: LOOKUP_PATH, schema: lookupReply }, token, signal);
      return answer.ok ? { ok: true, value: lifeOfLookup(answer.value.data) } : answer;
    },
    async renew(token, signal) {
      const answer = await call(
        { method: 'POST', path: 'auth/token/renew-self', schema: authReply, body: {} },
        token,
        signal,
      );
      return answer.ok ? { ok: true, value: lifeOfAuth(answer.value.auth) } : answer;
    },
    async isAccepted(token, signal) {
      for (const { path, body } of harmless) {
        const answer = await call({ method: 'POST', path, body, schema: anyReply, accepts: [400, 404] }, token, signal);
        if (answer.ok) return { ok: true, value: true };
        if (!isRefused(answer)) return answer;
      }
      return { ok: true, value: false };
    },
    revoke: (token, signal) => revokeSelf(exchange, transport, token, signal),
  };
}

/** Ends a token. */
export function revokeSelf(
  exchange: Exchange,
  transport: Pick<Transport, 'send'>,
  token: string,
  signal: AbortSignal,
): Promise<Outcome<unknown>> {
  const call = {
    method: 'POST',
    path: 'auth/token/revoke-self',
    schema: anyReply,
    body: {},
    repeat: 'always',
  } as const;
  return exchange(call, { token, transport }, signal);
}

export const LOOKUP_PATH = 'auth/token/lookup-self';
/** A login may wait for AWS, a cluster or an identity provider. */
const LOGIN_TIMEOUT_MS = 10_000;

/** One login, without a token. Never made twice for one connection that broke: what it sends may be good for one use only. */
export async function logIn(
  exchange: Exchange,
  transport: Pick<Transport, 'send'>,
  { path, body }: { readonly path: string; readonly body: object },
  signal: AbortSignal,
): Promise<Outcome<LoginReply>> {
  const call = { method: 'POST', path, body, schema: authReply, anonymous: true, timeoutMs: LOGIN_TIMEOUT_MS } as const;
  const answer = await exchange(call, { token: '', transport }, signal);
  if (!answer.ok) return answer;
  return { ok: true, value: { token: answer.value.auth.client_token, life: lifeOfAuth(answer.value.auth) } };
}
