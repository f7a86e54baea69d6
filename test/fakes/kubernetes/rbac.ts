import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseAllDocuments } from 'yaml';
import { isObject, type JsonObject, objectAt, textAt } from './json.ts';
import { StatusError } from './status.ts';
import type { ClusterUser, Verb } from './test-cluster.ts';

/** What a request asks for, as RBAC sees it. */
export interface Ask {
  readonly verb: Verb;
  readonly group: string;
  /** With the subresource: `certificaterequests/status`. */
  readonly resource: string;
  /** '' at the cluster scope. */
  readonly namespace: string;
  readonly name: string;
}

export type Allows = (user: ClusterUser, ask: Ask) => boolean;

const POLICY = join(dirname(fileURLToPath(import.meta.url)), '../../../policies/kubernetes/cert-manager-rbac.yaml');

/** The shipped access document, as text. */
export function loadPolicy(): Promise<string> {
  return readFile(POLICY, 'utf8');
}

export function readDocuments(yaml: string): JsonObject[] {
  return parseAllDocuments(yaml).map((document) => {
    const value: unknown = document.toJS();
    if (document.errors.length > 0 || !isObject(value)) throw new TypeError('not a list of YAML objects');
    return value;
  });
}

/** Judges by Roles, ClusterRoles and their bindings. Group `system:masters` may do everything, as always. */
export function createRbac(yaml: string): Allows {
  const documents = readDocuments(yaml);
  const rolesOf = (kind: string) => documents.filter((document) => document.kind === kind);
  const keyOf = (kind: string, namespace: string, name: string) => [kind, namespace, name].join('/');
  const rules = new Map<string, readonly unknown[]>();
  for (const kind of ['Role', 'ClusterRole']) {
    for (const role of rolesOf(kind)) {
      const { name = '', namespace = '' } = namesOf(role);
      rules.set(keyOf(kind, namespace, name), Array.isArray(role.rules) ? role.rules : []);
    }
  }
  const bindings = ['RoleBinding', 'ClusterRoleBinding'].flatMap((kind) =>
    rolesOf(kind).map((binding) => {
      const namespace = kind === 'RoleBinding' ? (namesOf(binding).namespace ?? '') : '*';
      const roleRef = objectAt(binding, 'roleRef');
      const roleKind = String(roleRef.kind);
      const key = keyOf(roleKind, roleKind === 'Role' ? namespace : '', String(roleRef.name));
      return {
        namespace,
        subjects: Array.isArray(binding.subjects) ? binding.subjects : [],
        rules: rules.get(key) ?? [],
      };
    }),
  );
  return (user, ask) =>
    user.groups.includes('system:masters') ||
    bindings.some(
      (binding) =>
        (binding.namespace === '*' || binding.namespace === ask.namespace) &&
        binding.subjects.some((subject) => isSubject(subject, user)) &&
        binding.rules.some((rule) => ruleAllows(rule, ask)),
    );
}

function namesOf(document: JsonObject): { name?: string | undefined; namespace?: string | undefined } {
  const metadata = document.metadata;
  return { name: textAt(metadata, 'name'), namespace: textAt(metadata, 'namespace') };
}

function isSubject(subject: unknown, user: ClusterUser): boolean {
  const name = textAt(subject, 'name') ?? '';
  switch (textAt(subject, 'kind')) {
    case 'ServiceAccount':
      return user.username === `system:serviceaccount:${textAt(subject, 'namespace')}:${name}`;
    case 'Group':
      return user.groups.includes(name);
    default:
      return user.username === name;
  }
}

function ruleAllows(rule: unknown, ask: Ask): boolean {
  const holds = (key: string, value: string) => {
    const list = isObject(rule) ? rule[key] : undefined;
    return Array.isArray(list) && (list.includes('*') || list.includes(value));
  };
  const names = isObject(rule) && Array.isArray(rule.resourceNames) ? rule.resourceNames : [];
  return (
    holds('verbs', ask.verb) &&
    holds('apiGroups', ask.group) &&
    holds('resources', ask.resource) &&
    (names.length === 0 || names.includes(ask.name))
  );
}

/** 403 with the text of a real API server. */
export function forbidden(username: string, { verb, group, resource, namespace, name }: Ask): StatusError {
  const kind = resource.replace(/\/.*/, '');
  const qualified = `${kind}${group === '' ? '' : `.${group}`}`;
  const where = namespace === '' ? 'at the cluster scope' : `in the namespace "${namespace}"`;
  return new StatusError(
    403,
    'Forbidden',
    `${qualified}${name === '' ? '' : ` "${name}"`} is forbidden: User "${username}" cannot ${verb} resource "${resource}" in API group "${group}" ${where}`,
    { ...(name === '' ? {} : { name }), ...(group === '' ? {} : { group }), kind },
  );
}
