import type { IssuerDeps } from '../../../src/issuer/issuer.ts';
import { orAborted } from '../../../src/runtime/or-aborted.ts';
import { type AwsCredentials, chainFault, loadAwsDefaultChain } from '../../shared/aws-default-chain.ts';
import { type Failure, type FailureKind, failed, type Outcome } from '../failure.ts';

/** For the whole chain, which may ask files, a web identity's STS, a container's and an instance's metadata service in turn. */
const CHAIN_TIMEOUT_MS = 10_000;

/** Credentials of AWS's default chain, looked up anew each time: who logs in does so rarely, and files and tokens change. */
export async function findAwsCredentials(
  clock: IssuerDeps['clock'],
  signal: AbortSignal,
): Promise<Outcome<AwsCredentials>> {
  signal.throwIfAborted();
  const deadline = clock.deadline(CHAIN_TIMEOUT_MS, signal);
  try {
    const provide = await loadAwsDefaultChain({ ignoreCache: true });
    return { ok: true, value: await orAborted(provide(), deadline.signal) };
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

const KINDS = { unavailable: 'network', refused: 'denied', absent: 'conf' } as const satisfies Record<
  ReturnType<typeof chainFault>['kind'],
  FailureKind
>;

function chainFailure(error: unknown): Failure {
  const { kind, message, fix } = chainFault(error);
  return { kind: KINDS[kind], message, fix };
}
