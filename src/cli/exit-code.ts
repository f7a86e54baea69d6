import type { ErrorCode } from '../issuer/errors.ts';

/** What the program ends with. */
export const EXIT = {
  ok: 0,
  /** Nobody foresaw it: please report it. */
  unexpected: 1,
  /** The command line itself is wrong. */
  usage: 2,
  /** The request is wrong, or what it names is not there. */
  request: 3,
  /** The same command may succeed later. */
  later: 4,
  /** Somebody has to change a configuration, here or at a backend. */
  operator: 5,
} as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

export const EXIT_CODES: Readonly<Record<ErrorCode, ExitCode>> = {
  ERR_CONFIG_INVALID: EXIT.operator,
  ERR_BACKEND_INVALID: EXIT.operator,
  ERR_ROTATION_NOT_READY: EXIT.later,
  ERR_REQUEST_INVALID: EXIT.request,
  ERR_POLICY_DENIED: EXIT.request,
  ERR_NOT_FOUND: EXIT.request,
  ERR_CONFLICT: EXIT.later,
  ERR_NOT_SUPPORTED: EXIT.request,
  ERR_ISSUANCE_PENDING: EXIT.later,
  ERR_ISSUER_RATE_LIMITED: EXIT.later,
  ERR_ISSUER_UNAVAILABLE: EXIT.later,
  ERR_ISSUER_DENIED: EXIT.operator,
  ERR_ISSUER_RESPONSE: EXIT.operator,
  ERR_STORE_UNAVAILABLE: EXIT.later,
  ERR_UNAUTHENTICATED: EXIT.request,
  ERR_ACCESS_DENIED: EXIT.request,
  ERR_TOO_LARGE: EXIT.request,
  ERR_INTERNAL: EXIT.unexpected,
};

/**
 * The exit code for an error answer: by its code, else (a server that knows more codes, or is not mesh-ca) by its HTTP status. Backends that do not
 * prove themselves may do so later when the answer says `retry`.
 */
export function exitCodeOf(code: string | undefined, status: number, retry = false): ExitCode {
  if (code === 'ERR_BACKEND_INVALID' && retry) return EXIT.later;
  const known = code === undefined ? undefined : Object.entries(EXIT_CODES).find(([name]) => name === code)?.[1];
  if (known !== undefined) return known;
  if (status === 429 || status === 502 || status === 503 || status === 504) return EXIT.later;
  return status >= 400 && status < 500 ? EXIT.request : EXIT.unexpected;
}
