import { z } from 'zod';
import type { IssuerDeps } from '../../../src/issuer/issuer.ts';
import { confFieldError, loadWord } from '../../shared/load-text.ts';
import type { JwtAuth, KubernetesAuth } from './auth-conf.ts';
import type { LoginMethod } from './login-source.ts';

const FIXES = {
  jwt: 'store the compact form of the JWT alone: three parts of base64url with dots between',
  kubernetes:
    'mount the token of the service account (automountServiceAccountToken, or a projected volume), and name its file',
} as const;

/** RFC 7519 section 3, RFC 7515 section 7.1. */
const COMPACT_FORM = /^[\w-]+\.[\w-]+\.[\w-]+$/;

const claims = z.object({ exp: z.number().optional(), nbf: z.number().optional() });

/**
 * A role and a JWT: what Vault calls `jwt` and `kubernetes` differ in what it does with them, not in what is sent. The JWT is loaded at every login,
 * because the kubelet and others who keep a file replace it.
 */
export function createJwtLogin(
  auth: JwtAuth | KubernetesAuth,
  deps: Pick<IssuerDeps, 'load' | 'clock'>,
): LoginMethod<{ readonly jwt: string }> {
  const field = `fromCp.auth.${auth.method}.token`;
  const fix = FIXES[auth.method];
  return {
    place: auth,
    async load(signal) {
      const jwt = await loadWord(deps, auth.token, { field, what: 'a JWT', fix }, signal);
      if (!COMPACT_FORM.test(jwt)) throw confFieldError(field, 'holds no JWT', fix);
      return { jwt };
    },
    async prepare({ jwt }) {
      const suspicion = suspicionOf(jwt, field, deps.clock.now());
      return { ok: true, value: { body: { role: auth.role, jwt }, ...(suspicion !== undefined && { suspicion }) } };
    },
  };
}

function suspicionOf(jwt: string, field: string, now: Date): string | undefined {
  const { exp, nbf } = readClaims(jwt);
  const nowSeconds = now.getTime() / 1000;
  if (exp !== undefined && exp < nowSeconds) return `the JWT of ${field} expired ${sinceNow(exp - nowSeconds)}`;
  if (nbf !== undefined && nbf > nowSeconds)
    return `the JWT of ${field} is not valid before ${sinceNow(nbf - nowSeconds)}`;
  return undefined;
}

/** By the second, without building a date: claims may hold any number. */
function sinceNow(seconds: number): string {
  const whole = Math.round(Math.abs(seconds));
  return seconds < 0 ? `${whole} s ago` : `in ${whole} s`;
}

function readClaims(jwt: string): z.output<typeof claims> {
  try {
    return claims.parse(JSON.parse(Buffer.from(jwt.split('.')[1] ?? '', 'base64url').toString('utf8')));
  } catch {
    return {};
  }
}
