import type { CallLimits, Operation } from './call-limits.ts';
import type { AcmPcaClient, IssueInput } from './client.ts';
import { type Outcome, twiceIfTransient } from './failure.ts';
import type { CaDescription, CertificateReply } from './replies.ts';

/** The calls of AWS's API, each when its turn has come under the quotas of the account. */
export interface Caller {
  /** One call, no repeats. `onSend` is called when it goes out: from then on AWS may have it. */
  issue(input: IssueInput, signal: AbortSignal, onSend: () => void): Promise<Outcome<string>>;
  /** One call, no repeats. */
  getCertificate(certificateArn: string, signal: AbortSignal): Promise<Outcome<CertificateReply>>;
  describe(signal: AbortSignal): Promise<Outcome<CaDescription>>;
  getCaCertificate(signal: AbortSignal): Promise<Outcome<CertificateReply>>;
}

/**
 * @param party whose calls these are: parties share the quotas in equal parts
 * @param getClient @throws ConfigError when the credentials cannot be loaded
 */
export function createCaller(
  getClient: (signal: AbortSignal) => Promise<AcmPcaClient>,
  limits: CallLimits,
  party: string,
): Caller {
  async function inTurn<T>(
    operation: Operation,
    signal: AbortSignal,
    call: (client: AcmPcaClient) => Promise<Outcome<T>>,
    patient = false,
  ): Promise<Outcome<T>> {
    const client = await getClient(signal);
    await limits.of(operation).take(signal, { party, patient });
    const outcome = await call(client);
    if (!outcome.ok && outcome.failure.kind === 'throttled') limits.of(operation).slowDown();
    return outcome;
  }

  return {
    issue: (input, signal, onSend) =>
      inTurn('IssueCertificate', signal, (client) => {
        onSend();
        return client.issue(input, signal);
      }),
    // Its certificate is paid for: it waits however long the queue is.
    getCertificate: (certificateArn, signal) =>
      inTurn('GetCertificate', signal, (client) => client.getCertificate(certificateArn, signal), true),
    describe: (signal) =>
      twiceIfTransient(() => inTurn('DescribeCertificateAuthority', signal, (client) => client.describe(signal))),
    getCaCertificate: (signal) =>
      twiceIfTransient(() =>
        inTurn('GetCertificateAuthorityCertificate', signal, (client) => client.getCaCertificate(signal)),
      ),
  };
}
