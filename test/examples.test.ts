import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { MESHES } from '../demo/meshes.ts';
import { OPENSSL_COMMANDS } from '../demo/steps/make-provided-ca.ts';
import { parseDocuments, type ResourceDocument } from '../src/mesh/documents.ts';
import { findKind } from '../src/mesh/kinds.ts';
import { findBlocks } from './support/markdown-blocks.ts';
import { startTestApp, type TestApp } from './support/test-app.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');
const filesIn = (folder: string, extension: string) =>
  readdirSync(join(ROOT, folder))
    .filter((name) => name.endsWith(extension))
    .map((name) => `${folder}/${name}`);

const EXAMPLES = filesIn('examples', '.yaml');
const PAGES = [
  ...filesIn('docs', '.md'),
  'README.md',
  ...['builtin', 'provided', 'vault', 'acmpca', 'certmanager'].map((one) => `adapters/${one}/README.md`),
];
const YAML_BLOCKS = PAGES.flatMap((page) =>
  findBlocks(read(page), 'yaml').map((text, index) => ({ name: `${page}, block ${index + 1}`, text })),
);

/** Every resource goes through the parser of its kind, which throws all its mistakes. */
function parseAll(text: string): ResourceDocument[] {
  const documents = parseDocuments(text);
  for (const { type, name, mesh, body } of documents) findKind(type)?.parse(body, { name, mesh });
  return documents;
}

let app: TestApp | undefined;
afterEach(async () => {
  await app?.close();
  app = undefined;
});

function pathOf({ type, mesh, name }: ResourceDocument): string {
  return type === 'Mesh' ? `/meshes/${name}` : `/meshes/${mesh}/${findKind(type)?.path}/${name}`;
}

describe('the YAML of the examples', () => {
  it.each(EXAMPLES)('%s is a mesh with mtls and two data planes, without a mistake', (file) => {
    const documents = parseAll(read(file));
    expect(documents.map(({ type }) => type)).toEqual(['Mesh', 'Dataplane', 'Dataplane']);
    expect(documents[0]?.body).toHaveProperty('mtls.enabledBackend');
    expect(new Set(documents.map(({ type, mesh, name }) => (type === 'Mesh' ? name : mesh))).size).toBe(1);
  });

  it('builtin.yaml is accepted by a new mesh-ca, which then issues for each of its data planes', async () => {
    app = await startTestApp();
    for (const document of parseDocuments(read('examples/builtin.yaml'))) {
      expect(await app.request('PUT', pathOf(document), document.body)).toMatchObject({ status: 201 });
    }
    for (const name of ['ledger-1', 'checkout-1']) {
      const { status, json } = await app.request('POST', `/meshes/payments/dataplanes/${name}/_certificate`, {});
      expect([status, json.uriSans?.[0]]).toEqual([201, `spiffe://payments/${name.slice(0, -2)}`]);
    }
  });

  it('provided.yaml is refused with the name of the secret while its secrets are missing', async () => {
    app = await startTestApp();
    const [mesh] = parseDocuments(read('examples/provided.yaml'));
    if (mesh === undefined) throw new Error('no mesh');
    const answer = await app.request('PUT', pathOf(mesh), mesh.body);
    expect([answer.status, answer.text]).toEqual([400, expect.stringContaining('shop-ca-key')]);
  });
});

describe('the YAML of the pages', () => {
  it.each(YAML_BLOCKS)('$name has no mistake', ({ text }) => {
    expect(parseAll(text).length).toBeGreaterThan(0);
  });

  it.each([
    ['docs/vault.md', 'examples/vault.yaml'],
    ['docs/provided-ca.md', 'examples/provided.yaml'],
    ['docs/acmpca.md', 'examples/acmpca.yaml'],
    ['docs/certmanager.md', 'examples/certmanager.yaml'],
  ])('has in %s the Mesh of %s', (page, example) => {
    const onPage = findBlocks(read(page), 'yaml').flatMap((text) => parseDocuments(text).map(({ body }) => body));
    expect(onPage).toContainEqual(parseDocuments(read(example))[0]?.body);
  });
});

describe('the demo', () => {
  it('knows the meshes, backends, data planes and services of the examples', () => {
    for (const { name, type, example, client, server } of MESHES) {
      const [mesh, ...dataplanes] = parseDocuments(read(`examples/${example}`));
      expect(mesh).toMatchObject({ name, body: { mtls: { backends: [{ type }] } } });
      expect(dataplanes.map((one) => one.name).sort()).toEqual([client.name, server.name].sort());
      for (const { name: dataplane, spiffeId } of [client, server]) {
        const found = dataplanes.find((one) => one.name === dataplane);
        expect(spiffeId).toBe(`spiffe://${name}/${serviceOf(found)}`);
      }
    }
  });

  it('makes its CA with the commands of provided-ca.md', () => {
    const shown = findBlocks(read('docs/provided-ca.md'), 'sh').join('').split('\n');
    expect(shown).toEqual(expect.arrayContaining([...OPENSSL_COMMANDS]));
  });
});

function serviceOf(dataplane: ResourceDocument | undefined): string {
  return /"kuma\.io\/service":"([^"]+)"/.exec(JSON.stringify(dataplane?.body))?.[1] ?? '';
}
