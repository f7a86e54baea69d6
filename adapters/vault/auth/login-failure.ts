import { type Failure, type FailureKind, failed, type Outcome } from '../failure.ts';
import { inNamespace } from '../in-namespace.ts';
import { LOGIN_RULES, type LoginPlace, NO_AUTH_METHOD, REFUSED } from './login-rules.ts';

export interface LoginAbout extends LoginPlace {
  readonly endpoint: string;
  /** '' for the root namespace. */
  readonly namespace: string;
  readonly path: string;
  /** What is odd about the credentials. '' for nothing. */
  readonly suspicion: string;
}

/** Not about the login: what Vault's client says of them is right for every call. */
const SAID_WELL: ReadonlySet<FailureKind> = new Set(['sealed', 'uninitialised', 'standby', 'rate-limited', 'clock']);

/**
 * A failed login in words of its method: a 400 or 403 means something else here than for a call with a token. None of the `secrets` is repeated, whole
 * or in part, even if Vault does.
 */
export function explainLogin(failure: Failure, about: LoginAbout, secrets: readonly string[]): Outcome<never> {
  const said = withoutSecrets(failure.said ?? '', secrets);
  const rule = findRule(failure, about.method);
  const { kind, message, fix } =
    rule === undefined
      ? { ...failure, message: withoutSecrets(failure.message, secrets) }
      : {
          kind: rule.kind,
          message: sentence(rule.message, about, said || `status ${failure.status}`),
          fix: inNamespace(rule.fix(about), about.namespace),
        };
  const note = about.suspicion !== '' && failure.status !== undefined ? `; ${about.suspicion}` : '';
  return failed({ ...failure, kind, fix, message: `${message}${note}`, ...(failure.said !== undefined && { said }) });
}

function findRule({ status = 0, kind, said = '' }: Failure, method: LoginAbout['method']) {
  if (status < 400 || SAID_WELL.has(kind) || /namespace not found/i.test(said)) return undefined;
  const byText = [NO_AUTH_METHOD, ...LOGIN_RULES[method]].find(({ text }) => text.test(said));
  return byText ?? (status < 500 && status !== 412 ? REFUSED : undefined);
}

function sentence(message: string, { endpoint, path }: LoginAbout, said: string): string {
  return `vault at ${endpoint} ${message} (${path}: ${said})`;
}

/** Shorter words say nothing about a secret that holds them. */
const TELLING_LENGTH = 8;

/** Also takes out words that are only a part of a secret: what Vault says is cut somewhere. */
export function withoutSecrets(text: string, secrets: readonly string[]): string {
  let clean = text;
  for (const secret of secrets) {
    if (secret.length >= TELLING_LENGTH) clean = clean.replaceAll(secret, '[secret]');
  }
  return clean.replace(/[^\s"'`()<>[\]{},;:=]+/g, (word) => {
    const isPart = (part: string) => part.length >= TELLING_LENGTH && secrets.some((secret) => secret.includes(part));
    return isPart(word) || isPart(word.replace(/\.{3}$/, '')) ? '[secret]' : word;
  });
}
