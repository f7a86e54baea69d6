import type { Violation } from '../issuer/errors.ts';
import { keyPath } from './violations.ts';

/** Labels of a resource: name -> value. */
export type Labels = Readonly<Record<string, string>>;

const MAX_LABELS = 256;
const NAME_PART = /^(?:[A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/;
const NAME_PART_MESSAGE =
  "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const QUALIFIED_NAME_MESSAGE =
  "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
const PREFIX = /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*$/;
const PREFIX_MESSAGE =
  "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const VALUE = /^(?:(?:[A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/;
const VALUE_MESSAGE =
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/** Kubernetes' rules for labels, which Kuma applies on every platform; fields `labels["x"]`. */
export function checkLabels(labels: Labels): Violation[] {
  const entries = Object.entries(labels);
  if (entries.length > MAX_LABELS) {
    return [{ field: 'labels', message: `cannot have more than ${MAX_LABELS} labels, got ${entries.length}` }];
  }
  entries.sort(([a], [b]) => (a < b ? -1 : 1));
  return entries.flatMap(([name, value]) =>
    [...labelNameMistakes(name), ...labelValueMistakes(value)].map((message) => ({
      field: keyPath('labels', name),
      message,
    })),
  );
}

function labelNameMistakes(label: string): string[] {
  const [first = '', second, ...more] = label.split('/');
  if (more.length > 0) return [QUALIFIED_NAME_MESSAGE];
  const mistakes: string[] = [];
  if (second !== undefined) {
    if (first === '') mistakes.push('prefix part must be non-empty');
    else if (first.length > 253) mistakes.push('prefix part must be no more than 253 characters');
    else if (!PREFIX.test(first)) mistakes.push(PREFIX_MESSAGE);
  }
  const name = second ?? first;
  if (name === '') mistakes.push('name part must be non-empty');
  else if (name.length > 63) mistakes.push('name part must be no more than 63 characters');
  if (!NAME_PART.test(name)) mistakes.push(NAME_PART_MESSAGE);
  return mistakes;
}

function labelValueMistakes(value: string): string[] {
  const mistakes: string[] = [];
  if (value.length > 63) mistakes.push('must be no more than 63 characters');
  if (!VALUE.test(value)) mistakes.push(VALUE_MESSAGE);
  return mistakes;
}
