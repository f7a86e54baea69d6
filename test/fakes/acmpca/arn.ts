import { AwsError, constraintError } from './aws-error.ts';

export interface Owner {
  readonly partition: string;
  readonly region: string;
  readonly account: string;
}

/** The pattern of the service's model for ARNs. */
const PATTERN = /^arn:[\w+=/,.@-]+:acm-pca:[\w+=/,.@-]*:[0-9]*:[\w+=,.@-]+(\/[\w+=,.@-]+)*$/;
const MAX_LENGTH = 200;

/** An ARN argument of this account and region. @throws AwsError ValidationException by its form, InvalidArnException by what it names */
export function checkArn(value: unknown, member: string, owner: Owner): string {
  if (typeof value !== 'string') throw constraintError(value, member, 'Member must not be null');
  if (value.length > MAX_LENGTH || !PATTERN.test(value)) {
    const pattern = PATTERN.source.slice(1, -1).replaceAll('\\/', '/');
    throw constraintError(value, member, `Member must satisfy regular expression pattern: ${pattern}`);
  }
  const [, partition, , region, account, resource = ''] = value.split(':');
  const isOurs = partition === owner.partition && region === owner.region && account === owner.account;
  if (!isOurs || !/^certificate-authority\/[0-9a-f-]{36}(\/certificate\/[0-9a-f]+)?$/.test(resource)) {
    throw new AwsError(
      'InvalidArnException',
      `The Amazon Resource Name (ARN) ${value} does not refer to an existing resource`,
    );
  }
  return value;
}
