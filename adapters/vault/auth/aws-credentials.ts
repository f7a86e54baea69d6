import type { IssuerDeps } from '../../../src/issuer/issuer.ts';
import { orAborted } from '../../../src/runtime/or-aborted.ts';
import { type Failure, failed, type Outcome } from '../failure.ts';

export interface AwsCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

/** For the whole chain, which may ask files, a web identity's STS, a container's and an instance's metadata service in turn. */
const CHAIN_TIMEOUT_MS = 10_000;
const METADATA_TIMEOUT_MS = 1000;
const STS_TIMEOUTS = { connectionTimeout: 3000, requestTimeout: 5000 } as const;

/**
 * AWS credentials by the default chain of AWS's SDK: environment, profiles, web identity (IRSA), container, instance. Looked up anew each time: who
 * logs in does so rarely, and files and tokens change. The SDK is only loaded here.
 */
export async function findAwsCredentials(
  clock: IssuerDeps['clock'],
  signal: AbortSignal,
): Promise<Outcome<AwsCredentials>> {
  signal.throwIfAborted();
  const deadline = clock.deadline(CHAIN_TIMEOUT_MS, signal);
  try {
    const { fromNodeProviderChain } = await import('@aws-sdk/credential-providers');
    const provide = fromNodeProviderChain({
      ignoreCache: true,
      timeout: METADATA_TIMEOUT_MS,
      maxRetries: 1,
      clientConfig: { maxAttempts: 2, requestHandler: STS_TIMEOUTS },
    });
    const { accessKeyId, secretAccessKey, sessionToken } = await orAborted(provide(), deadline.signal);
    return { ok: true, value: { accessKeyId, secretAccessKey, ...(sessionToken !== undefined && { sessionToken }) } };
  } catch (error) {
    signal.throwIfAborted();
    return failed(deadline.signal.aborted ? TOO_SLOW : chainFailure(error));
  } finally {
    deadline.clear();
  }
}

const TOO_SLOW: Failure = {
  kind: 'timeout',
  message: `AWS credentials were not found within ${CHAIN_TIMEOUT_MS} ms`,
  fix: 'look at the network to the instance metadata service and to STS',
};

/** The SDK's own words stay out: they repeat what processes print and what files hold. */
function chainFailure(error: unknown): Failure {
  const name = error instanceof Error && /^\w{1,60}$/.test(error.name) ? error.name : 'Error';
  const code = textAt(error, 'code');
  if (/^(E[A-Z_]{3,20})$/.test(code) || name === 'TimeoutError' || textAt(error, '$fault') === 'server') {
    return {
      kind: 'network',
      message: `AWS credentials cannot be had now: the default chain failed with ${code === '' ? name : code}`,
      fix: 'look at the network to the instance metadata service and to STS',
    };
  }
  if (textAt(error, '$fault') === 'client') {
    return {
      kind: 'denied',
      message: `AWS refuses to give credentials (${name})`,
      fix: 'check the trust policy of the role, and that AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE belong to this service account',
    };
  }
  return {
    kind: 'conf',
    message: `the default chain found no AWS credentials (${name})`,
    fix: 'give mesh-ca an instance role or IRSA; or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; `aws sts get-caller-identity` shows what is found',
  };
}

function textAt(value: unknown, key: string): string {
  const found: unknown = typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined;
  return typeof found === 'string' ? found : '';
}
