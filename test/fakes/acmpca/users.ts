import { randomBytes } from 'node:crypto';
import { AwsError } from './aws-error.ts';
import { type AccessRequest, evaluatePolicies, type PolicyDocument } from './iam-policy.ts';

export interface UserSpec {
  /** The policies that are attached. */
  readonly policies: readonly PolicyDocument[];
  /** Temporary credentials of an assumed role, with a session token. Default false. */
  readonly temporary?: boolean;
}

/** Who signs. Switches take effect at once. */
export interface FakeUser {
  readonly arn: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string | undefined;
  policies: readonly PolicyDocument[];
  /** False: UnrecognizedClientException, as after `aws iam delete-access-key`. */
  isActive: boolean;
  /** True: ExpiredTokenException. Only for temporary credentials. */
  isExpired: boolean;
}

export function createUser(spec: UserSpec, owner: { readonly partition: string; readonly account: string }): FakeUser {
  const temporary = spec.temporary ?? false;
  const id = randomBytes(8).toString('hex').toUpperCase();
  return {
    arn: temporary
      ? `arn:${owner.partition}:sts::${owner.account}:assumed-role/mesh-ca/session-${id}`
      : `arn:${owner.partition}:iam::${owner.account}:user/mesh-ca-${id}`,
    accessKeyId: `${temporary ? 'ASIA' : 'AKIA'}${id}`,
    secretAccessKey: randomBytes(30).toString('base64'),
    sessionToken: temporary ? randomBytes(96).toString('base64') : undefined,
    policies: spec.policies,
    isActive: true,
    isExpired: false,
  };
}

/** @throws AwsError AccessDeniedException with IAM's text */
export function authorize(user: FakeUser, request: AccessRequest): void {
  const decision = evaluatePolicies(user.policies, request);
  if (decision === 'allowed') return;
  const why =
    decision === 'explicit-deny'
      ? 'with an explicit deny in an identity-based policy'
      : `because no identity-based policy allows the ${request.action} action`;
  throw new AwsError(
    'AccessDeniedException',
    `User: ${user.arn} is not authorized to perform: ${request.action} on resource: ${request.resource} ${why}`,
  );
}
