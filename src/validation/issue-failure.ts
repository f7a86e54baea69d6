import { CaError, type ErrorCode } from '../issuer/errors.ts';
import { type Finding, failed } from './run-checks.ts';

interface FailureText {
  readonly message: string;
  /** Where the error does not say what to do. */
  readonly fix: string;
}

const LOOK_AT_CONF = 'compare the conf of the backend with its documentation, then validate again';

/** THE table of what a failed call of a backend means for it. Codes that no issuer throws have the text of `OTHER`. */
const FAILURES: Readonly<Partial<Record<ErrorCode, FailureText>>> = {
  ERR_CONFIG_INVALID: { message: 'the conf of the backend does not work', fix: LOOK_AT_CONF },
  ERR_REQUEST_INVALID: {
    message: 'the backend does not take the request for a data plane of this mesh',
    fix: 'let the role, template or issuer allow the names and keys that data planes have',
  },
  ERR_POLICY_DENIED: {
    message: 'a rule of the backend forbids the test certificate',
    fix: 'allow what data planes ask for',
  },
  ERR_NOT_FOUND: { message: 'the CA is not there', fix: LOOK_AT_CONF },
  ERR_NOT_SUPPORTED: { message: 'the backend cannot make such certificates', fix: LOOK_AT_CONF },
  ERR_ISSUANCE_PENDING: {
    message: 'the backend has not issued the test certificate yet',
    fix: 'look at what it waits for: an approval, an issuer that is not ready, its load',
  },
  ERR_ISSUER_RATE_LIMITED: { message: 'the backend is asked too much', fix: 'wait, or raise its limits' },
  ERR_ISSUER_UNAVAILABLE: {
    message: 'the backend did not answer',
    fix: 'look whether it runs and can be reached from the machine of mesh-ca',
  },
  ERR_ISSUER_DENIED: {
    message: 'the backend refused to issue',
    fix: 'give the credentials of the backend the rights that policies/ lists',
  },
  ERR_ISSUER_RESPONSE: {
    message: 'the answer of the backend cannot be used',
    fix: 'look for a proxy or plug-in that changes answers, and at the log of the backend',
  },
  ERR_STORE_UNAVAILABLE: { message: 'the store of mesh-ca cannot be used', fix: 'look at the log of mesh-ca' },
};
const OTHER: FailureText = { message: 'no test certificate could be had', fix: 'look at the log of mesh-ca' };

/** What a failed call means, in plain words. Undefined: not an error of ours, so nobody knows. */
export function failureFinding(error: unknown): Finding | undefined {
  if (!(error instanceof CaError)) return undefined;
  const { message, fix } = FAILURES[error.code] ?? OTHER;
  return failed({ message, cause: withoutPrefix(error.message), fix: error.fix ?? fix, retry: error.retry });
}

/** Whose error it is everybody knows who reads the proof of one backend. */
function withoutPrefix(message: string): string {
  return message.replace(/^issuer\([^)]*\): /, '');
}
