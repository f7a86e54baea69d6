import type { ACMPCAClient } from '@aws-sdk/client-acm-pca';
import type { z } from 'zod';
import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import { orAborted } from '../../src/runtime/or-aborted.ts';
import type { AwsCredentialProvider, AwsCredentials } from '../shared/aws-default-chain.ts';
import { fieldAtFault } from '../shared/field-at-fault.ts';
import type { CaArn } from './ca-arn.ts';
import type { Operation } from './call-limits.ts';
import type { Endpoint } from './endpoint.ts';
import type { CallContext } from './error-rules.ts';
import { credentialsFailure, failureOf, malformedFailure, timeoutFailure } from './errors.ts';
import { type Failure, failed, type Outcome } from './failure.ts';
import * as replies from './replies.ts';
import type { SigningAlgorithm } from './signing-algorithm.ts';
import type { Passthrough, Template } from './template.ts';
import type { Transport, WireRequest } from './transport.ts';
import type { Validity } from './validity.ts';

export interface ClientOptions {
  readonly ca: CaArn;
  readonly template: Template;
  readonly endpoint: Endpoint;
  readonly credentialsFrom: CallContext['credentials'];
  readonly credentials: AwsCredentialProvider;
  readonly transport: Transport;
  readonly clock: IssuerDeps['clock'];
  /** Told how each call ended; undefined: well. */
  onEnd(failure: Failure | undefined): void;
}

export interface IssueInput {
  /** PKCS#10, PEM. */
  readonly csrPem: string;
  readonly signingAlgorithm: SigningAlgorithm;
  readonly validity: Validity;
  readonly passthrough: Passthrough | undefined;
  /** At most 36 characters. */
  readonly idempotencyToken: string;
}

/**
 * The calls of AWS's API that this adapter makes. None of them throws because of what AWS or the network does: that is in the outcome.
 * Each is one exchange, never repeated here, and rejects with the signal's reason once `signal` fires.
 */
export interface AcmPcaClient {
  /** ARN of the certificate that AWS now makes. */
  issue(input: IssueInput, signal: AbortSignal): Promise<Outcome<string>>;
  getCertificate(certificateArn: string, signal: AbortSignal): Promise<Outcome<replies.CertificateReply>>;
  describe(signal: AbortSignal): Promise<Outcome<replies.CaDescription>>;
  /** The CA's own certificate and what is above it. */
  getCaCertificate(signal: AbortSignal): Promise<Outcome<replies.CertificateReply>>;
  close(): void;
}

/** Longest wait for one answer, credentials included where the default chain has to fetch them. */
const CALL_TIMEOUT_MS = 5000;

/** The only place that knows AWS's client. It is loaded here, with the first use: 130 ms and 22 MB. */
export async function createClient(options: ClientOptions): Promise<AcmPcaClient> {
  const { ca, transport, clock } = options;
  const sdk = await import('@aws-sdk/client-acm-pca');
  let found: AwsCredentials | undefined;
  const client: ACMPCAClient = new sdk.ACMPCAClient({
    region: ca.region,
    ...(options.endpoint.url === undefined ? {} : { endpoint: options.endpoint.url }),
    credentials: async () => found ?? options.credentials(),
    // A repeated call is another call against a quota, and IssueCertificate is on the bill: that is decided in issue-certificate.ts.
    maxAttempts: 1,
    retryMode: 'standard',
    requestHandler: {
      metadata: { handlerProtocol: 'http/1.1' },
      handle: async (request: WireRequest, to?: { abortSignal?: unknown }) => ({
        response: await transport.send(request, signalOf(to?.abortSignal)),
      }),
      updateHttpClientConfig() {},
      httpHandlerConfigs: () => ({}),
    },
  });

  // The SDK would look into the environment and into profiles by itself: endpoint.ts has decided, and messages tell what it found.
  const { endpointProvider } = client.config;
  client.config.endpointProvider = (params, context) =>
    endpointProvider({ ...params, Endpoint: options.endpoint.url }, context);

  async function exchange<S extends z.ZodType>(...call: Parameters<typeof ask<S>>): Promise<Outcome<z.output<S>>> {
    const outcome = await ask(...call);
    options.onEnd(outcome.ok ? undefined : outcome.failure);
    return outcome;
  }

  async function ask<S extends z.ZodType>(
    operation: Operation,
    send: (options: { abortSignal: AbortSignal }) => Promise<unknown>,
    schema: S,
    signal: AbortSignal,
  ): Promise<Outcome<z.output<S>>> {
    const context: CallContext = { ...options, operation, credentials: options.credentialsFrom };
    const deadline = clock.deadline(CALL_TIMEOUT_MS, signal);
    let hasCredentials = false;
    try {
      found = await orAborted(options.credentials(), deadline.signal);
      hasCredentials = true;
      const reply = await orAborted(send({ abortSignal: deadline.signal }), deadline.signal);
      const read = schema.safeParse(reply);
      if (read.success) return { ok: true, value: read.data };
      const field = fieldAtFault(read.error);
      return failed(malformedFailure(`${field === '' ? 'its content' : field} is not as AWS documents it`, context));
    } catch (error) {
      signal.throwIfAborted();
      if (!hasCredentials)
        return failed(credentialsFailure(deadline.signal.aborted ? CALL_TIMEOUT_MS : error, context));
      return failed(deadline.signal.aborted ? timeoutFailure(CALL_TIMEOUT_MS, context) : failureOf(error, context));
    } finally {
      deadline.clear();
    }
  }

  return {
    async issue(input, signal) {
      const command = new sdk.IssueCertificateCommand({
        CertificateAuthorityArn: ca.text,
        Csr: Buffer.from(input.csrPem),
        SigningAlgorithm: input.signingAlgorithm,
        TemplateArn: options.template.arn,
        Validity: { Type: 'ABSOLUTE', Value: input.validity.notAfterSeconds },
        ValidityNotBefore: { Type: 'ABSOLUTE', Value: input.validity.notBeforeSeconds },
        IdempotencyToken: input.idempotencyToken,
        ...(input.passthrough === undefined ? {} : { ApiPassthrough: withLists(input.passthrough) }),
      });
      const answer = await exchange('IssueCertificate', (to) => client.send(command, to), replies.issueReply, signal);
      return answer.ok ? { ok: true, value: answer.value.CertificateArn } : answer;
    },
    getCertificate(certificateArn, signal) {
      const command = new sdk.GetCertificateCommand({
        CertificateAuthorityArn: ca.text,
        CertificateArn: certificateArn,
      });
      return exchange('GetCertificate', (to) => client.send(command, to), replies.certificateReply, signal);
    },
    async describe(signal) {
      const command = new sdk.DescribeCertificateAuthorityCommand({ CertificateAuthorityArn: ca.text });
      const operation = 'DescribeCertificateAuthority';
      const answer = await exchange(operation, (to) => client.send(command, to), replies.describeReply, signal);
      return answer.ok ? { ok: true, value: answer.value.CertificateAuthority } : answer;
    },
    getCaCertificate(signal) {
      const command = new sdk.GetCertificateAuthorityCertificateCommand({ CertificateAuthorityArn: ca.text });
      const operation = 'GetCertificateAuthorityCertificate';
      return exchange(operation, (to) => client.send(command, to), replies.certificateReply, signal);
    },
    close: () => client.destroy(),
  };
}

/** The SDK hands on the very signal that it was given; its own type for it is an older one. */
function signalOf(signal: unknown): AbortSignal {
  return signal instanceof AbortSignal ? signal : new AbortController().signal;
}

/** The SDK wants lists that it could change. */
function withLists({ Subject, Extensions }: Passthrough) {
  return { Subject, Extensions: { SubjectAlternativeNames: [...Extensions.SubjectAlternativeNames] } };
}
