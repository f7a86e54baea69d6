import { randomUUID } from 'node:crypto';
import { systemClock } from '../../../src/runtime/clock.ts';
import type { ServerCertificate } from '../../../testcontainers/server-certificate.ts';
import { checkArn, type Owner } from './arn.ts';
import { AwsError } from './aws-error.ts';
import { countCalls, OPERATIONS, type Operation, type OperationCounts, type SeenCall } from './calls.ts';
import { type CaSpec, createCa, type FakeCa, type SigningCa } from './certificate-authority.ts';
import { createIssuedCertificates } from './issued.ts';
import { type JsonServer, type ReceivedRequest, type Reply, startJsonServer } from './json-server.ts';
import { type Body, HANDLERS, type ServiceState } from './operations.ts';
import { POLICY_FILES, readPolicyFile } from './policy-files.ts';
import { createQuotas, DEFAULT_QUOTAS } from './quotas.ts';
import { verifySignature } from './sigv4.ts';
import { authorize, createUser, type FakeUser, type UserSpec } from './users.ts';

export interface StrictAcmPcaOptions {
  /** The server's clock for validity, readiness, idempotency and quotas. Default: the system's. */
  readonly clock?: { now(): Date; monotonicMs(): number };
  /** What signatures are dated by. Default: the system's clock, because the AWS SDK signs with that. */
  readonly signingNow?: () => Date;
  /** Default `eu-west-1`. */
  readonly region?: string;
  /** Default `123456789012`. */
  readonly account?: string;
  /** Default `aws`. */
  readonly partition?: string;
  /** Calls a second. Defaults: AWS's own. */
  readonly quotas?: Partial<Readonly<Record<Operation, number>>>;
  /** From IssueCertificate until GetCertificate answers; a function gets the number of the certificate, from 0. Default 0. */
  readonly readyAfterMs?: number | ((index: number) => number);
  /** The first CA. Default: a root with an EC P-256 key. */
  readonly ca?: CaSpec;
  /** HTTPS with this certificate. Default: plain HTTP. */
  readonly tls?: ServerCertificate;
}

/** An answer in place of the service's own. `hang` never answers, `reset` breaks the connection. */
export type Fault = Reply;

/** AWS Private CA over HTTP, as strict as the real one where the real one is known to be strict. */
export interface StrictAcmPca extends JsonServer, Owner {
  readonly ca: FakeCa;
  /** May do what the files of policies/aws/ allow, on every CA here. */
  readonly user: FakeUser;
  createCa(spec?: CaSpec): Promise<FakeCa>;
  createUser(spec: UserSpec): FakeUser;

  /** Added to what the server takes for now, in validity and in signatures. */
  clockOffsetMs: number;
  readyAfterMs: number | ((index: number) => number);
  /** Every certificate that is issued from now on ends as RequestFailedException. */
  failIssuing: boolean;
  /** Every call is throttled, whatever the quotas say. */
  throttleAll: boolean;
  /** Asked of each call before anything else. */
  fault: (call: SeenCall) => Fault | undefined;

  /** Oldest first. */
  readonly calls: readonly SeenCall[];
  counts(operation: Operation): OperationCounts;
  /** Certificates that were issued, and would be on the bill. */
  readonly issuedCount: number;
  /** As `stop`, for good. */
  close(): Promise<void>;
}

type Switch = 'clockOffsetMs' | 'readyAfterMs' | 'failIssuing' | 'throttleAll' | 'fault';

const SERVICE = 'acm-pca';
const TARGET_PREFIX = 'ACMPrivateCA.';
const CONTENT_TYPE = 'application/x-amz-json-1.1';

/**
 * Starts the fake on a free port of 127.0.0.1. A call goes through: `fault`, signature, quota, ARN, IAM policies, the operation; the first that
 * refuses answers. What a switch says counts from the next call on.
 */
export async function startStrictAcmPca(options: StrictAcmPcaOptions = {}): Promise<StrictAcmPca> {
  const { clock = systemClock, signingNow = systemClock.now, region = 'eu-west-1' } = options;
  const { account = '123456789012', partition = 'aws' } = options;
  const owner: Owner = { partition, region, account };
  const cas = new Map<string, SigningCa>();
  const users = new Map<string, FakeUser>();
  const calls: SeenCall[] = [];
  const issued = createIssuedCertificates(clock.monotonicMs);
  const quotas = createQuotas({ ...DEFAULT_QUOTAS, ...options.quotas }, clock.monotonicMs);
  const shifted = (now: () => Date) => () => new Date(now().getTime() + switches.clockOffsetMs);
  const switches: Pick<StrictAcmPca, Switch | 'issuedCount'> = {
    get issuedCount() {
      return issued.count;
    },
    clockOffsetMs: 0,
    readyAfterMs: options.readyAfterMs ?? 0,
    failIssuing: false,
    throttleAll: false,
    fault: () => undefined,
  };
  const state: ServiceState = {
    owner,
    cas,
    issued,
    now: shifted(clock.now),
    monotonicMs: clock.monotonicMs,
    readyAfterMs: (index) =>
      typeof switches.readyAfterMs === 'number' ? switches.readyAfterMs : switches.readyAfterMs(index),
    get failIssuing() {
      return switches.failIssuing;
    },
  };
  const newUser = (spec: UserSpec) => {
    const user = createUser(spec, owner);
    users.set(user.accessKeyId, user);
    return user;
  };
  const user = newUser({ policies: [] });
  const newCa = async (spec: CaSpec = {}) => {
    const ca = await createCa(
      `arn:${partition}:${SERVICE}:${region}:${account}:certificate-authority`,
      spec,
      state.now,
    );
    cas.set(ca.arn, ca);
    const documents = await Promise.all(POLICY_FILES.map((name) => readPolicyFile(name, ca.arn)));
    user.policies = [...user.policies, ...documents];
    return ca;
  };
  const ca = await newCa(options.ca);

  function serve(request: ReceivedRequest, call: SeenCall): object {
    const check = { region, service: SERVICE, now: shifted(signingNow)(), findUser: (id: string) => users.get(id) };
    const signer = verifySignature(request, check);
    const operation = OPERATIONS.find((name) => name === call.operation);
    if (operation === undefined || request.method !== 'POST' || request.headers['content-type'] !== CONTENT_TYPE) {
      throw new AwsError('UnknownOperationException', '');
    }
    if (switches.throttleAll || !quotas.take(operation)) throw new AwsError('ThrottlingException', 'Rate exceeded');
    const arn = checkArn(call.body.CertificateAuthorityArn, 'certificateAuthorityArn', owner);
    authorize(signer, {
      action: `${SERVICE}:${operation}`,
      resource: arn,
      context: conditionKeys(call.body),
    });
    const wanted = cas.get(arn);
    if (wanted === undefined)
      throw new AwsError('ResourceNotFoundException', `Could not find certificate authority ${arn}`);
    return HANDLERS[operation](wanted, call.body, state);
  }

  function answer(request: ReceivedRequest): Reply {
    const call: SeenCall = {
      operation: String(request.headers['x-amz-target'] ?? '').replace(TARGET_PREFIX, ''),
      accessKeyId: /Credential=([^/]*)/.exec(request.headers.authorization ?? '')?.[1] ?? '',
      headers: request.headers,
      body: parseBody(request.body),
      atMs: clock.monotonicMs(),
      error: '',
    };
    calls.push(call);
    const fault = switches.fault(call);
    if (fault !== undefined) {
      call.error = 'fault';
      return fault;
    }
    const headers = {
      'content-type': CONTENT_TYPE,
      'x-amzn-requestid': randomUUID(),
      date: shifted(signingNow)().toUTCString(),
    };
    try {
      return { status: 200, headers, body: JSON.stringify(serve(request, call)) };
    } catch (error) {
      if (!(error instanceof AwsError)) throw error;
      call.error = error.type;
      return { status: error.status, headers, body: errorBody(error) };
    }
  }

  const server = await startJsonServer(answer, options.tls);
  return Object.assign(switches, server, owner, {
    ca,
    user,
    createCa: newCa,
    createUser: newUser,
    calls,
    counts: (operation: Operation) => countCalls(calls, operation),
    close: server.stop,
  });
}

/** A request that names no template has no such key: whether AWS fills the default in is not documented. */
function conditionKeys(body: Body): Readonly<Record<string, string>> {
  const { TemplateArn: arn } = body;
  return typeof arn === 'string' ? { [`${SERVICE}:TemplateArn`]: arn } : {};
}

function parseBody(body: Buffer): Body {
  try {
    return Object(JSON.parse(body.toString('utf8')));
  } catch {
    return {};
  }
}

/** IAM's refusals come from another layer than the service's own, and write `Message`. */
function errorBody({ type, message }: AwsError): string {
  if (type === 'AccessDeniedException') return JSON.stringify({ __type: type, Message: message });
  return JSON.stringify({ __type: type, message });
}
