import { CaError } from '../../src/issuer/errors.ts';
import type { CommonNameTemplate } from '../../src/mesh/common-name.ts';
import type { RoleReply } from './replies.ts';

export interface CommonNameVerdict {
  /** False where it cannot be known without the tags of a data plane, too. */
  readonly isRefused: boolean;
  /** What a name of the template looks like. */
  readonly example: string;
  /** Of the role, so that it allows such names. */
  readonly change: string;
}

type Domains = Pick<
  RoleReply,
  | 'allow_any_name'
  | 'allow_bare_domains'
  | 'allow_subdomains'
  | 'allow_glob_domains'
  | 'allow_token_displayname'
  | 'allowed_domains'
  | 'cn_validations'
>;

/** What goes into a command is short, and holds nothing that a shell reads. */
const MAX_KEPT = 20;
const PLAIN = /^[\w.*-]{1,253}$/;

/**
 * Whether Vault refuses every common name that a template can give. Tags may hold anything, so only what follows the last of them is sure: a name is
 * refused for certain when no domain of the role can end like it.
 * The rules are those of Vault's role parameters `allowed_domains`, `allow_bare_domains`, `allow_subdomains`, `allow_glob_domains`.
 */
export function judgeCommonName(template: CommonNameTemplate, role: Domains): CommonNameVerdict {
  const [example, other] = [nameFor(template, 'web'), nameFor(template, 'mesh-ca-test')];
  const end = commonEnd(example, other);
  const isConstant = example === other;
  const domain = isConstant ? example : end.replace(/^[^.]*\.?/, '');
  const domains = role.allowed_domains.map((one) => one.toLowerCase());
  const kept = role.allowed_domains.filter((one) => PLAIN.test(one)).slice(0, MAX_KEPT);
  const change = !PLAIN.test(domain)
    ? 'allow_any_name=true'
    : `allowed_domains=${[...new Set([...kept, domain])].join(',')} allow_subdomains=true${isConstant ? ' allow_bare_domains=true' : ''}`;
  const isFree =
    role.allow_any_name || role.allow_token_displayname || role.cn_validations.some((one) => one === 'disabled');
  const isOpen = domains.some((one) => one.includes('{{') || (role.allow_glob_domains && one.includes('*')));
  // Addresses of e-mail have rules of their own.
  if (isFree || isOpen || example === '' || example.includes('@')) return { isRefused: false, example, change };
  const meets = (suffix: string) => end.endsWith(suffix) || (!isConstant && suffix.endsWith(end));
  const isAllowed = domains.some(
    (one) =>
      (role.allow_subdomains && meets(`.${one}`)) ||
      (role.allow_bare_domains && (isConstant ? end === one : one.endsWith(end))),
  );
  return { isRefused: !isAllowed, example, change };
}

/** '' where no name can be had of such tags. */
function nameFor(template: CommonNameTemplate, value: string): string {
  try {
    return template.render({ mesh: '', dataplane: '', tags: new AnyTag(value) }).toLowerCase();
  } catch (error) {
    if (error instanceof CaError) return '';
    throw error;
  }
}

/** Has every tag, with the same value. */
class AnyTag extends Map<string, readonly string[]> {
  readonly #values: readonly string[];
  constructor(value: string) {
    super();
    this.#values = [value];
  }
  override get(): readonly string[] {
    return this.#values;
  }
}

function commonEnd(a: string, b: string): string {
  let length = 0;
  while (length < Math.min(a.length, b.length) && a.at(-1 - length) === b.at(-1 - length)) length += 1;
  return a.slice(a.length - length);
}
