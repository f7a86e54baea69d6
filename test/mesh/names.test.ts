import { describe, expect, it } from 'vitest';
import { checkAgainstUrl } from '../../src/mesh/check-against-url.ts';
import { checkLabels } from '../../src/mesh/labels.ts';
import { checkExistingName, checkMeshNameLength, checkName, meshNameWarnings } from '../../src/mesh/names.ts';

const SUBDOMAIN =
  "invalid characters. A lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
const LAX = "invalid characters. Valid characters are numbers, lowercase latin letters and '-', '_', '.' symbols.";

describe('the name of a new resource', () => {
  it.each(['a', '0', 'web-1', 'default.ca-builtin-cert-ca-1', 'a'.repeat(253)])('may be %s', (name) => {
    expect(checkName(name)).toEqual([]);
  });

  it.each([
    ['', 'cannot be empty'],
    ['a'.repeat(254), 'value length must less or equal 253'],
    ...['A', 'a_b', '-a', 'a-', 'a..b', '.a', 'a/b', 'a\n', 'ä', '../x', '__proto__'].map((name) => [name, SUBDOMAIN]),
  ])('may not be %j', (name, message) => {
    expect(checkName(String(name))).toEqual([{ field: 'name', message }]);
  });

  it('may keep an underscore where it exists already, and so may the mesh that a resource names', () => {
    expect(checkExistingName('ca_1')).toEqual([]);
    expect(checkExistingName('A', 'mesh')).toEqual([{ field: 'mesh', message: LAX }]);
    expect(checkExistingName('', 'mesh')).toEqual([{ field: 'mesh', message: 'cannot be empty' }]);
  });
});

describe('the name of a mesh', () => {
  it('has at most 63 characters', () => {
    expect(checkMeshNameLength('a'.repeat(63))).toEqual([]);
    expect(checkMeshNameLength('a'.repeat(64))).toEqual([
      { field: 'name', message: 'cannot be longer than 63 characters' },
    ]);
  });

  it.each(['default', 'a', 'mesh-1'])('%s draws no warning', (name) => {
    expect(meshNameWarnings(name)).toEqual([]);
  });

  it.each(['1mesh', 'a.b', 'a_b'])('%s draws a warning', (name) => {
    expect(meshNameWarnings(name)).toEqual([
      `Invalid name: '${name}'. It does not conform to the DNS format (RFC 1035). This is deprecated. Errors: a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')`,
    ]);
  });

  it('draws one warning for all that is wrong with it', () => {
    const [warning, ...more] = meshNameWarnings('1'.repeat(64));
    expect(warning).toContain('Errors: must be no more than 63 characters; a DNS-1035 label must');
    expect(more).toEqual([]);
  });
});

describe('a PUT body against its URL', () => {
  const key = { type: 'Dataplane', mesh: 'default', name: 'dp-1' };

  it('agrees when name, type and mesh are those of the URL', () => {
    expect(checkAgainstUrl({ ...key, networking: {} }, key)).toEqual([]);
  });

  it('tells everything that differs, in the order of Kuma', () => {
    const message = (field: string) => `${field} from the URL has to be the same as in body`;
    const all = ['name', 'type', 'mesh'].map((field) => ({ field, message: message(field) }));
    expect(checkAgainstUrl({ type: 'Mesh', mesh: 'other', name: 'dp-2' }, key)).toEqual(all);
    expect(checkAgainstUrl({}, key)).toEqual(all);
    expect(checkAgainstUrl(null, key)).toEqual(all);
    expect(checkAgainstUrl({ name: 5, type: [], mesh: {} }, key)).toEqual(all);
  });

  it('says nothing of a mesh for a kind that stands outside of one', () => {
    expect(checkAgainstUrl({ type: 'Mesh', name: 'm' }, { type: 'Mesh', mesh: '', name: 'm' })).toEqual([]);
  });

  it('checks the labels', () => {
    const fields = checkAgainstUrl({ ...key, labels: { 'a b': 'x', ok: 'c d' } }, key).map(({ field }) => field);
    expect(fields).toEqual(['labels["a b"]', 'labels["ok"]']);
  });
});

describe('labels', () => {
  it.each([
    ['kuma.io/workload', 'web'],
    ['k8s.kuma.io/namespace', ''],
    ['a', 'A_b.c-D'],
  ])('%s=%s is allowed', (name, value) => {
    expect(checkLabels({ [name]: value })).toEqual([]);
  });

  it.each([
    ['', 'x', 'name part must be non-empty'],
    ['/a', 'x', 'prefix part must be non-empty'],
    ['a/', 'x', 'name part must be non-empty'],
    ['a/b/c', 'x', 'a qualified name must consist of'],
    ['A/b', 'x', 'prefix part a lowercase RFC 1123 subdomain must consist of'],
    ['-a', 'x', 'name part must consist of'],
    ['a'.repeat(64), 'x', 'name part must be no more than 63 characters'],
    ['a', 'b c', 'a valid label must be an empty string or consist of'],
    ['a', 'b'.repeat(64), 'must be no more than 63 characters'],
  ])('%j=%j is refused', (name, value, message) => {
    const [first] = checkLabels({ [name]: value });
    expect(first?.field).toBe(`labels[${JSON.stringify(name)}]`);
    expect(first?.message).toContain(message);
  });

  it('are limited in number', () => {
    const many = Object.fromEntries(Array.from({ length: 257 }, (_, index) => [`l${index}`, 'x']));
    expect(checkLabels(many)).toEqual([{ field: 'labels', message: 'cannot have more than 256 labels, got 257' }]);
  });
});
