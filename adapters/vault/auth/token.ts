import type { IssuerDeps } from '../../../src/issuer/issuer.ts';
import { loadWord } from '../../shared/load-text.ts';
import type { TokenAuth } from './auth-conf.ts';
import { fingerprintOf } from './login-source.ts';
import type { TokenSource } from './token-source.ts';

const TOKEN = {
  field: 'fromCp.auth.token',
  what: 'a token',
  fix: 'store the token alone, as `vault token create -field=token` prints it',
} as const;

/** A token that somebody else made: an operator, or an agent that keeps a file fresh. */
export function createTokenReader(auth: TokenAuth, deps: Pick<IssuerDeps, 'load'>): TokenSource {
  const load = (signal: AbortSignal) => loadWord(deps, auth.token, TOKEN, signal);
  return {
    method: 'token',
    logsIn: false,
    fingerprint: async (signal) => fingerprintOf({ token: await load(signal) }),
    async obtain(_login, signal) {
      const token = await load(signal);
      return { ok: true, value: { token, life: undefined, fingerprint: fingerprintOf({ token }) } };
    },
  };
}
