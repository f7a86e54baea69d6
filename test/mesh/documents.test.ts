import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { ConfigError } from '../../src/issuer/errors.ts';
import { parseDocuments, type ResourceDocument } from '../../src/mesh/documents.ts';
import { findKind } from '../../src/mesh/kinds.ts';
import { parseMesh } from '../../src/mesh/mesh.ts';
import { errorOf, violationsOf } from './violations-of.ts';

const PAGES: readonly [page: string, documents: number][] = [
  ['page-ca-rotation.yaml', 8],
  ['page-mutual-tls.yaml', 8],
  ['page-provided.yaml', 4],
  ['page-vault.yaml', 4],
];

function readPage(page: string): ResourceDocument[] {
  return parseDocuments(readFileSync(new URL(`fixtures/${page}`, import.meta.url), 'utf8'));
}

describe('the YAML of the product pages', () => {
  it.each(PAGES)('%s is valid, and says the same in both forms', (page, count) => {
    const documents = readPage(page);
    expect(documents).toHaveLength(count);
    for (const { type, mesh, name, body } of documents) {
      const kind = findKind(type);
      const resource = kind?.parse(body, { mesh, name });
      expect(resource).toMatchObject({ type, name });
    }
    for (let index = 0; index < documents.length; index += 2) {
      const [kubernetes, universal] = documents.slice(index, index + 2);
      const { labels: _, ...plain } = kubernetes?.body ?? {};
      expect(plain).toEqual(universal?.body);
    }
  });

  it('keeps what it says', () => {
    const backendsOf = (page: string) =>
      readPage(page).map(({ body }) => parseMesh(body.type === 'Mesh' ? body : {}, { name: 'default' }).mtls);
    expect(backendsOf('page-ca-rotation.yaml').map((mtls) => [mtls?.enabledBackend, mtls?.backends.length])).toEqual(
      [
        ['ca-1', 1],
        ['ca-1', 2],
        ['ca-2', 2],
        ['ca-2', 1],
      ].flatMap((step) => [step, step]),
    );
    const [builtin, , provided, , inline, , permissive] = backendsOf('page-mutual-tls.yaml').map(
      (mtls) => mtls?.backends[0],
    );
    expect(builtin?.dpCert?.rotation.expirationMs).toBe(86_400_000);
    expect(builtin?.conf).toEqual({ caCert: { RSAbits: 2048, expiration: '10y' } });
    expect(provided?.conf).toEqual({ cert: { secret: 'name-of-secret' }, key: { secret: 'name-of-secret' } });
    expect(inline?.conf).toHaveProperty('cert.inline');
    expect(permissive?.mode).toBe('PERMISSIVE');
    const [vault] = backendsOf('page-vault.yaml').map((mtls) => mtls?.backends[0]);
    expect(vault?.conf).toMatchObject({
      fromCp: { commonName: '{{ tag "kuma.io/service" }}.mesh', pki: 'kmesh-pki-default' },
    });
  });
});

describe('a file of resources', () => {
  it('may hold many documents of both forms, and tells where each starts', () => {
    const text = `# comment
type: Mesh
name: demo
---
---
# a data plane
apiVersion: kuma.io/v1alpha1
kind: Dataplane
mesh: demo
metadata:
  name: web-1
  namespace: apps
  labels:
    team: a
spec:
  networking:
    address: 10.0.0.1
---
{"type": "Secret", "mesh": "demo", "name": "s", "data": ""}
...
`;
    expect(parseDocuments(text)).toEqual([
      { type: 'Mesh', mesh: '', name: 'demo', body: { type: 'Mesh', name: 'demo' }, line: 2 },
      {
        type: 'Dataplane',
        mesh: 'demo',
        name: 'web-1',
        body: {
          type: 'Dataplane',
          mesh: 'demo',
          name: 'web-1',
          labels: { team: 'a' },
          networking: { address: '10.0.0.1' },
        },
        line: 7,
      },
      {
        type: 'Secret',
        mesh: 'demo',
        name: 's',
        body: { type: 'Secret', mesh: 'demo', name: 's', data: '' },
        line: 19,
      },
    ]);
  });

  it.each(['', '\n', '---\n---\n', '# only a comment\n', '--- # nothing\n'])('may be empty: %j', (text) => {
    expect(parseDocuments(text)).toEqual([]);
  });

  it('may have line ends of Windows and a byte order mark', () => {
    expect(parseDocuments('\ufefftype: Mesh\r\nname: demo\r\n')).toMatchObject([{ type: 'Mesh', name: 'demo' }]);
  });

  it('may use anchors and merge keys', () => {
    const text =
      'type: Mesh\nname: a\nmtls:\n  backends:\n    - &one {name: ca-1, type: builtin}\n    - <<: *one\n      name: ca-2\n';
    expect(parseDocuments(text)[0]?.body.mtls).toEqual({
      backends: [
        { name: 'ca-1', type: 'builtin' },
        { type: 'builtin', name: 'ca-2' },
      ],
    });
  });

  it('gives a resource without a mesh the default one, or the one that was asked for', () => {
    const text = 'type: Dataplane\nname: a\n---\napiVersion: kuma.io/v1alpha1\nkind: Dataplane\nmetadata: {name: b}\n';
    expect(parseDocuments(text).map(({ mesh, body }) => [mesh, body.mesh])).toEqual([
      ['default', 'default'],
      ['default', 'default'],
    ]);
    expect(parseDocuments(text, { defaultMesh: 'demo' }).map(({ mesh }) => mesh)).toEqual(['demo', 'demo']);
  });

  it.each([
    ['the field mesh', 'mesh: demo\nmetadata: {name: a}'],
    ['a label', 'metadata: {name: a, labels: {kuma.io/mesh: demo}}'],
    ['an annotation', 'metadata: {name: a, annotations: {kuma.io/mesh: demo}}'],
    ['all of them', 'mesh: demo\nmetadata: {name: a, labels: {kuma.io/mesh: demo}, annotations: {kuma.io/mesh: demo}}'],
  ])('takes the mesh from %s', (_, text) => {
    expect(parseDocuments(`apiVersion: kuma.io/v1alpha1\nkind: Dataplane\n${text}\n`)[0]?.mesh).toBe('demo');
  });

  it('takes a Secret of Kubernetes, in base64 or as a text', () => {
    const head =
      'apiVersion: v1\nkind: Secret\ntype: system.kuma.io/secret\nmetadata: {name: s, labels: {kuma.io/mesh: demo}}\n';
    const [encoded] = parseDocuments(`${head}data: {value: aGVsbG8=}\n`);
    const [plain] = parseDocuments(`${head}stringData: {value: hello}\n`);
    expect(encoded).toMatchObject({ type: 'Secret', mesh: 'demo', name: 's', body: { data: 'aGVsbG8=', name: 's' } });
    expect(plain).toEqual(encoded);
  });

  it('cannot say in a spec what the resource is called', () => {
    const text =
      'apiVersion: kuma.io/v1alpha1\nkind: Mesh\nmetadata: {name: a}\nspec: {type: Secret, name: b, mesh: c}\n';
    expect(parseDocuments(text)).toMatchObject([{ type: 'Mesh', name: 'a', body: { type: 'Mesh', name: 'a' } }]);
  });
});

describe('mistakes in a file', () => {
  const kube = 'apiVersion: kuma.io/v1alpha1\n';
  const secret = 'apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n';

  it.each([
    ['no type', 'name: a', 'line 1, column 1: "type" has to be set to one of Mesh, Secret, Dataplane'],
    [
      'an unknown type',
      'type: Zone\nname: a',
      'line 1, column 1: unknown kind "Zone"; known are Mesh, Secret, Dataplane',
    ],
    [
      'a type that is a number',
      'type: 5\nname: a',
      'line 1, column 1: unknown kind of the wrong form (number); known are Mesh, Secret, Dataplane',
    ],
    ['no name', 'type: Mesh', 'line 1, column 1: "name" of this Mesh has to be set to a string'],
    [
      'a name that is a number',
      'type: Mesh\nname: 5',
      'line 1, column 1: "name" of this Mesh has to be set to a string',
    ],
    [
      'a mesh that is a list',
      'type: Secret\nname: a\nmesh: []',
      'line 1, column 1: "mesh" of Secret "a" has to be a string',
    ],
    [
      'a list',
      '- type: Mesh',
      'line 1, column 1: a resource has to be an object with "type", or with "apiVersion" and "kind"',
    ],
    [
      'a text',
      'hello',
      'line 1, column 1: a resource has to be an object with "type", or with "apiVersion" and "kind"',
    ],
    [
      'an unknown kind',
      `${kube}kind: MeshTrafficPermission\nmetadata: {name: a}`,
      'line 1, column 1: unknown kind "MeshTrafficPermission"; known are Mesh, Secret, Dataplane',
    ],
    [
      'no kind',
      `${kube}metadata: {name: a}`,
      'line 1, column 1: "kind" has to be set to one of Mesh, Secret, Dataplane',
    ],
    [
      'no apiVersion',
      'kind: Mesh\nmetadata: {name: a}',
      'line 1, column 1: "apiVersion" of a Mesh has to be kuma.io/v1alpha1',
    ],
    [
      'another apiVersion',
      'apiVersion: v1\nkind: Mesh\nmetadata: {name: a}',
      'line 1, column 1: "apiVersion" of a Mesh has to be kuma.io/v1alpha1',
    ],
    ['no metadata', `${kube}kind: Mesh`, 'line 1, column 1: "metadata" has to be an object'],
    [
      'no metadata.name',
      `${kube}kind: Mesh\nmetadata: {}`,
      'line 1, column 1: "metadata.name" has to be set to a string',
    ],
    [
      'a spec that is a text',
      `${kube}kind: Mesh\nmetadata: {name: a}\nspec: x`,
      'line 1, column 1: "spec" has to be an object',
    ],
    [
      'two meshes',
      `${kube}kind: Dataplane\nmesh: a\nmetadata: {name: a, labels: {kuma.io/mesh: b}}`,
      'line 1, column 1: mesh is "a", but metadata.labels["kuma.io/mesh"] is "b"',
    ],
    [
      'an ordinary Secret',
      `${secret}type: Opaque\ndata: {value: eA==}`,
      'line 1, column 1: "type" of a Secret has to be system.kuma.io/secret',
    ],
    [
      'a global Secret',
      `${secret}type: system.kuma.io/global-secret\ndata: {value: eA==}`,
      'line 1, column 1: "type" of a Secret has to be system.kuma.io/secret',
    ],
    [
      'a Secret without value',
      `${secret}type: system.kuma.io/secret\ndata: {token: eA==}`,
      'line 1, column 1: data.value cannot be empty.',
    ],
    ['broken YAML', 'type: Mesh\nname: a: b', 'line 2, column 7: Nested mappings are not allowed in compact mappings'],
    ['a key twice', 'type: Mesh\nname: a\nname: b', 'line 3, column 1: Map keys must be unique'],
    [
      'an unknown anchor',
      'type: Mesh\nname: *a',
      'line 1, column 1: Unresolved alias (the anchor must be set before the alias): a',
    ],
    [
      'a tag of another language',
      'type: Mesh\nname: !!js/function "x"',
      'line 2, column 7: Unresolved tag: tag:yaml.org,2002:js/function',
    ],
  ])('%s', (_, text, violation) => {
    expect(violationsOf(() => parseDocuments(text))).toEqual([violation]);
  });

  it('of all documents are told at once, each with its line', () => {
    const text = 'type: Foo\n---\ntype: Mesh\nname: ok\n---\na: b: c\n---\n  - x\n---\nkind: Bar\n';
    expect(violationsOf(() => parseDocuments(text)).map((violation) => violation.split(':')[0])).toEqual([
      'line 1, column 1',
      'line 6, column 4',
      'line 8, column 3',
      'line 10, column 1',
    ]);
    expect(String(errorOf(() => parseDocuments(text)))).toContain('line 6, column 4: Nested mappings');
  });

  it.each([
    [
      'a bomb of aliases',
      `a: &a [${'x,'.repeat(9)}x]\n${[...'bcdefghi'].map((name, index) => `${name}: &${name} [${`*${'abcdefgh'[index]},`.repeat(9)}1]`).join('\n')}\n`,
      'an anchor is repeated more than 100 times',
    ],
    ['deep lists', '['.repeat(100_000), 'nested deeper than 64 levels'],
    ['deep objects', '{"a":'.repeat(50_000), 'nested deeper than 64 levels'],
    [
      'deep blocks',
      Array.from({ length: 500 }, (_, index) => `${' '.repeat(index)}a:`).join('\n'),
      'nested deeper than 64 levels',
    ],
    ['a circle', '&a {type: Mesh, name: x, tracing: *a}', 'cannot be nested deeper than 48 levels'],
    ['dashes in a row', '- '.repeat(10_000), 'nested deeper than 64 levels'],
    ['10,001 documents', 'type: Mesh\nname: a\n---\n'.repeat(10_001), 'the file holds more than 10000 documents'],
    ['100,000 empty documents', '---\n'.repeat(100_000), 'the file holds more than 10000 documents'],
  ])('include %s', (_, text, message) => {
    expect(violationsOf(() => parseDocuments(text)).join('\n')).toContain(message);
  });

  it('include a file of over 4 MiB', () => {
    const error = errorOf(() => parseDocuments(`# ${'x'.repeat(2 ** 22)}`));
    expect(error).toBeInstanceOf(ConfigError);
    expect(String(error)).toContain('larger than 4194304 bytes');
  });

  it('give a ConfigError, whatever the text is', () => {
    const pieces = [
      'type: Mesh',
      'name: a',
      'kind: Secret',
      'apiVersion: v1',
      'metadata:',
      '\n',
      '\n  ',
      '---',
      '- ',
      '&a ',
      '*a',
      '{',
      '}',
      '[',
      ']',
      '!!x ',
      '"',
      "'",
      '|',
      '>',
      '? ',
      ': ',
      '#',
      '%YAML 1.1',
      '<<: *a',
      '\t',
      '__proto__: {}',
    ];
    const anyText = fc.oneof(
      fc.string(),
      fc.string({ unit: 'binary' }),
      fc.array(fc.constantFrom(...pieces), { maxLength: 40 }).map((parts) => parts.join('')),
      fc.jsonValue().map((value) => JSON.stringify(value)),
      fc
        .dictionary(
          fc.constantFrom('type', 'kind', 'apiVersion', 'metadata', 'name', 'mesh', 'spec', 'data'),
          fc.jsonValue(),
        )
        .map((value) => stringify(value)),
    );
    fc.assert(
      fc.property(anyText, (text) => {
        const error = errorOf(() => {
          for (const { type, mesh, name, body } of parseDocuments(text)) {
            expect(JSON.parse(JSON.stringify(body))).toMatchObject(mesh === '' ? { type, name } : { type, mesh, name });
          }
        });
        if (error !== undefined) expect(error).toBeInstanceOf(ConfigError);
      }),
      { numRuns: 500 },
    );
  });

  it('are none in resources written by a YAML library', () => {
    const word = fc.stringMatching(/^[a-z][a-z0-9-]{0,10}$/);
    fc.assert(
      fc.property(fc.array(fc.tuple(word, fc.dictionary(word, fc.string())), { maxLength: 5 }), (meshes) => {
        const bodies = meshes.map(([name, labels]) => ({ type: 'Mesh', name, labels }));
        const text = bodies.map((body) => stringify(body)).join('---\n');
        expect(parseDocuments(text).map(({ body }) => body)).toEqual(bodies);
      }),
    );
  });
});
