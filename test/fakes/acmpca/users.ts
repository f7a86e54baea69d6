import type { PolicyDocument } from './iam-policy.ts';

export interface UserSpec {
  /** The policies that are attached. */
  readonly policies: readonly PolicyDocument[];
  /** Temporary credentials, with a session token. Default false. */
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
