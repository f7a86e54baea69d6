/** An IAM policy document, as far as the fake reads it. */
export interface PolicyDocument {
  readonly Version: string;
  readonly Statement: readonly PolicyStatement[];
}

export interface PolicyStatement {
  readonly Sid?: string;
  readonly Effect: 'Allow' | 'Deny';
  readonly Action: OneOrMore;
  readonly Resource: OneOrMore;
  readonly Condition?: Readonly<Record<string, Readonly<Record<string, OneOrMore>>>>;
}
type OneOrMore = string | readonly string[];

export interface AccessRequest {
  /** `acm-pca:IssueCertificate` */
  readonly action: string;
  readonly resource: string;
  /** Condition keys that the service knows for this call. A key that is not there fits no Like and no Equals. */
  readonly context: Readonly<Record<string, string>>;
}

export type Decision = 'allowed' | 'explicit-deny' | 'no-allow';

/** IAM's rule for one account: a Deny that fits wins, else an Allow that fits, else no. */
export function evaluatePolicies(policies: readonly PolicyDocument[], request: AccessRequest): Decision {
  const fitting = policies.flatMap((policy) => policy.Statement).filter((statement) => fits(statement, request));
  if (fitting.some(({ Effect }) => Effect === 'Deny')) return 'explicit-deny';
  return fitting.some(({ Effect }) => Effect === 'Allow') ? 'allowed' : 'no-allow';
}

function fits(statement: PolicyStatement, request: AccessRequest): boolean {
  return (
    anyOf(statement.Action, (action) => isLike(action.toLowerCase(), request.action.toLowerCase())) &&
    anyOf(statement.Resource, (resource) => isLike(resource, request.resource)) &&
    Object.entries(statement.Condition ?? {}).every(([operator, keys]) =>
      Object.entries(keys).every(([key, wanted]) => conditionHolds(operator, wanted, request.context[key])),
    )
  );
}

const OPERATORS: Readonly<Record<string, (wanted: OneOrMore, actual: string | undefined) => boolean>> = {
  StringEquals: (wanted, actual) => actual !== undefined && anyOf(wanted, (one) => one === actual),
  StringLike: (wanted, actual) => actual !== undefined && anyOf(wanted, (one) => isLike(one, actual)),
  StringNotEquals: (wanted, actual) => actual === undefined || !anyOf(wanted, (one) => one === actual),
  StringNotLike: (wanted, actual) => actual === undefined || !anyOf(wanted, (one) => isLike(one, actual)),
};

function conditionHolds(operator: string, wanted: OneOrMore, actual: string | undefined): boolean {
  const holds = OPERATORS[operator];
  if (holds === undefined) throw new TypeError(`the fake does not know the IAM condition operator ${operator}`);
  return holds(wanted, actual);
}

function anyOf(values: OneOrMore, test: (value: string) => boolean): boolean {
  return (typeof values === 'string' ? [values] : values).some(test);
}

/** `*` stands for any text, `?` for one character. */
function isLike(pattern: string, text: string): boolean {
  const escaped = pattern.replace(/[.+^${}()|[\]\\]/g, '\\$&');
  return new RegExp(`^${escaped.replaceAll('*', '[^]*').replaceAll('?', '[^]')}$`).test(text);
}
