import { extension, subjectAltName } from '../../../src/x509/extensions.ts';
import { createName } from '../../../src/x509/name.ts';
import { AwsError, constraintError } from './aws-error.ts';

export interface Passthrough {
  /** DER; undefined: nothing given, the CSR's counts. */
  readonly subjectDer: Buffer | undefined;
  readonly sans: Buffer | undefined;
}

const MAX_NAMES = 150;
const MAX_NAME_LENGTH = 253;
const MAX_COMMON_NAME_LENGTH = 64;

/** `ApiPassthrough` as far as this fake has it: a common name, and alternative names of the kinds DNS and URI. */
export function readPassthrough(value: unknown): Passthrough {
  const { Subject, Extensions, ...others } = Object(value) as Record<string, unknown>;
  refuseOthers('ApiPassthrough', others);
  const { CommonName, ...otherParts } = Object(Subject) as Record<string, unknown>;
  refuseOthers('ApiPassthrough.Subject', otherParts);
  const { SubjectAlternativeNames, ...otherExtensions } = Object(Extensions) as Record<string, unknown>;
  // The template says both, and the template comes first.
  const { KeyUsage: _1, ExtendedKeyUsage: _2, ...custom } = otherExtensions;
  refuseOthers('ApiPassthrough.Extensions', custom);
  return {
    subjectDer: CommonName === undefined ? undefined : createName([['commonName', commonName(CommonName)]]),
    sans: SubjectAlternativeNames === undefined ? undefined : sans(SubjectAlternativeNames, CommonName === undefined),
  };
}

function commonName(value: unknown): string {
  if (typeof value === 'string' && value.length <= MAX_COMMON_NAME_LENGTH) return value;
  throw constraintError(
    value,
    'apiPassthrough.subject.commonName',
    `Member must have length less than or equal to ${MAX_COMMON_NAME_LENGTH}`,
  );
}

function sans(value: unknown, critical: boolean): Buffer {
  const path = 'apiPassthrough.extensions.subjectAlternativeNames';
  if (!Array.isArray(value) || value.length < 1 || value.length > MAX_NAMES) {
    throw constraintError(value, path, `Member must have length less than or equal to ${MAX_NAMES}`);
  }
  const uriSans: string[] = [];
  const dnsNames: string[] = [];
  for (const [index, entry] of value.entries()) {
    const { UniformResourceIdentifier: uri, DnsName: dns, ...others } = Object(entry) as Record<string, unknown>;
    refuseOthers('a subject alternative name', others);
    const name = uri ?? dns;
    if (typeof name !== 'string' || name.length > MAX_NAME_LENGTH) {
      const member = `${path}.${index + 1}.member`;
      throw constraintError(name, member, `Member must have length less than or equal to ${MAX_NAME_LENGTH}`);
    }
    (uri === undefined ? dnsNames : uriSans).push(name);
  }
  return extension('subjectAltName', critical, subjectAltName({ uriSans, dnsNames }));
}

function refuseOthers(where: string, others: Record<string, unknown>): void {
  const names = Object.keys(others);
  if (names.length > 0) throw new AwsError('NotSupportedByThisFake', `${where}: ${names.join(', ')}`, 501);
}
