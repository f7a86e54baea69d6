import type { ObjectMeta } from './certificate-request.ts';
import { badRequest } from './status.ts';

export type Matcher = (metadata: Pick<ObjectMeta, 'name' | 'namespace' | 'labels'>) => boolean;

const KEY = '[A-Za-z0-9]([A-Za-z0-9_./-]*[A-Za-z0-9])?';
const SET = new RegExp(`^(${KEY}) +(in|notin) *\\(([^()]*)\\)$`);
const EQUALITY = new RegExp(`^(${KEY}) *(==|=|!=) *([A-Za-z0-9_.-]*)$`);
const EXISTS = new RegExp(`^(!?) *(${KEY})$`);

/**
 * `labelSelector` of a list or watch: `=`, `==`, `!=`, `in`, `notin`, `key`, `!key`, joined by commas.
 * @throws StatusError 400
 */
export function parseLabelSelector(text: string): Matcher {
  const requirements = splitOutsideBrackets(text).map((part) => parseRequirement(part.trim()));
  return ({ labels = {} }) => requirements.every((fits) => fits(labels));
}

/**
 * `fieldSelector`: of custom resources only `metadata.name` and `metadata.namespace` can be selected by.
 * @throws StatusError 400
 */
export function parseFieldSelector(text: string): Matcher {
  const requirements = splitOutsideBrackets(text).map((part): Matcher => {
    const [, field, operator, value] = /^(metadata\.name|metadata\.namespace)(==|=|!=)(.*)$/.exec(part.trim()) ?? [];
    if (field === undefined) throw badRequest(`field label not supported: ${part}`);
    return (metadata) =>
      ((field === 'metadata.name' ? metadata.name : metadata.namespace) === value) === (operator !== '!=');
  });
  return (metadata) => requirements.every((fits) => fits(metadata));
}

type Requirement = (labels: Readonly<Record<string, string>>) => boolean;

function parseRequirement(text: string): Requirement {
  const [, setKey, , operator, list] = SET.exec(text) ?? [];
  if (setKey !== undefined && list !== undefined) {
    const values = new Set(list.split(',').map((value) => value.trim()));
    // A label that is not there is "notin" every set, and in none.
    return (labels) => values.has(labels[setKey] ?? '\0') === (operator === 'in');
  }
  const [, key, , equality, value] = EQUALITY.exec(text) ?? [];
  if (key !== undefined) return (labels) => (labels[key] === value) === (equality !== '!=');
  const [, not, existing] = EXISTS.exec(text) ?? [];
  if (existing === undefined) throw badRequest(`unable to parse requirement: ${JSON.stringify(text)}`);
  return (labels) => Object.hasOwn(labels, existing) === (not === '');
}

function splitOutsideBrackets(text: string): string[] {
  return text === '' ? [] : text.split(/,(?![^(]*\))/);
}
