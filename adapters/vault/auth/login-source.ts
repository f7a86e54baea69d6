import { createHash } from 'node:crypto';
import type { VaultConf } from '../config.ts';
import type { Outcome } from '../failure.ts';
import { explainLogin } from './login-failure.ts';
import type { LoginPlace } from './login-rules.ts';
import type { ClientCertificate, TokenSource } from './token-source.ts';

/** The texts that a method's data sources hold: trimmed and checked, secret. */
export type Credentials = Readonly<Record<string, string>>;

/** What differs between the methods that log in. */
export interface LoginMethod<C extends Credentials = Credentials> {
  readonly place: LoginPlace;
  /** @throws ConfigError naming the field; the reason of `signal` */
  load(signal: AbortSignal): Promise<C>;
  /** Makes the body of the login, which may ask AWS. Throws as `load`. */
  prepare(credentials: C, signal: AbortSignal): Promise<Outcome<PreparedLogin>>;
}

export interface PreparedLogin {
  readonly body: object;
  readonly clientCertificate?: ClientCertificate;
  /** Secrets of the body beside the credentials: never repeated, even if Vault does. */
  readonly secrets?: readonly string[];
  /** What is odd about these credentials. Only said when the login is refused: Vault decides. */
  readonly suspicion?: string;
}

/** The one way to log in: load anew, prepare, call, and say what went wrong in words of the method. */
export function createLoginSource<C extends Credentials>(
  { endpoint, namespace }: Pick<VaultConf, 'endpoint' | 'namespace'>,
  method: LoginMethod<C>,
): TokenSource {
  const { method: name, mount, role } = method.place;
  const path = `auth/${mount}/login`;
  return {
    method: name,
    logsIn: true,
    async fingerprint(signal) {
      return fingerprintOf(await method.load(signal));
    },
    async obtain(login, signal) {
      const credentials = await method.load(signal);
      const prepared = await method.prepare(credentials, signal);
      if (!prepared.ok) return prepared;
      const { body, clientCertificate, secrets = [], suspicion = '' } = prepared.value;
      const reply = await login(path, body, signal, clientCertificate);
      if (!reply.ok) {
        return explainLogin(reply.failure, { method: name, mount, role, endpoint, namespace, path, suspicion }, [
          ...Object.values(credentials),
          ...secrets,
        ]);
      }
      const fingerprint = fingerprintOf(credentials);
      return { ok: true, value: { ...reply.value, fingerprint, ...(clientCertificate && { clientCertificate }) } };
    },
  };
}

/** '' when there is nothing to load. */
export function fingerprintOf(credentials: Credentials): string {
  const texts = Object.values(credentials);
  return texts.length === 0 ? '' : createHash('sha256').update(JSON.stringify(texts)).digest('base64url');
}
