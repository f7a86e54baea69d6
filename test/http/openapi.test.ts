import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { openApiPath, type Route } from '../../src/http/route.ts';
import { certificateRoutes } from '../../src/http/routes/certificates.ts';
import { resourceRoutes } from '../../src/http/routes/resources.ts';
import { rotationRoutes } from '../../src/http/routes/rotation.ts';
import { serviceRoutes } from '../../src/http/routes/service.ts';
import { tokenRoutes } from '../../src/http/routes/tokens.ts';
import { trustRoutes } from '../../src/http/routes/trust.ts';
import { validationRoutes } from '../../src/http/routes/validation.ts';
import { builtinMesh, dataplane, type Json, startTestApp, type TestApp } from '../support/test-app.ts';

let test: TestApp;
let api: Json;
beforeAll(async () => {
  test = await startTestApp();
  await test.ok('PUT', '/meshes/default', builtinMesh('default'));
  api = (await test.ok('GET', '/openapi.json')).json;
});
afterAll(() => test.close());

/** The routes without anything behind them: they are only read. */
function allRoutes(): readonly Route[] {
  const nothing = JSON.parse('{}');
  return [
    ...certificateRoutes(nothing),
    ...trustRoutes(nothing),
    ...resourceRoutes(nothing),
    ...serviceRoutes(nothing),
    ...validationRoutes(nothing),
    ...tokenRoutes(nothing),
    ...rotationRoutes(nothing),
  ];
}

describe('openapi.json', () => {
  it('holds every route, with its parameters, its body and its answers, and nothing else', () => {
    const described = new Set<string>();
    for (const [path, operations] of Object.entries(api.paths ?? {}))
      for (const method of Object.keys(operations ?? {})) described.add(`${method.toUpperCase()} ${path}`);
    const routes = allRoutes();
    expect([...described].sort()).toEqual(routes.map(({ method, path }) => `${method} ${openApiPath(path)}`).sort());
    for (const route of routes) {
      const path = openApiPath(route.path);
      const operation = api.paths?.[path]?.[route.method.toLowerCase()];
      const inPath = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]);
      const parameters = z.array(z.object({ name: z.string(), in: z.string() })).parse(operation?.parameters ?? []);
      expect(parameters.filter((one) => one.in === 'path').map(({ name }) => name)).toEqual(inPath);
      expect(parameters.filter((one) => one.in === 'query').map(({ name }) => name)).toEqual(
        Object.keys(route.query ?? {}),
      );
      expect(operation?.requestBody !== undefined).toBe(route.body !== undefined);
      // Unknown fields of our own calls are refused; those of Kuma's are not.
      const [content] = Object.values(operation?.requestBody?.content ?? {});
      expect(content?.schema?.additionalProperties).toBe(
        route.body === undefined || route.body.kind === 'resource' || route.tag === 'tokens' ? undefined : false,
      );
      expect(Object.keys(operation?.responses ?? {})).toEqual([...Object.keys(route.answers), 'default']);
    }
  });

  it('has an id of its own for every operation', () => {
    const ids = Object.values(api.paths ?? {}).flatMap((operations) =>
      Object.values(operations ?? {}).map((operation) => String(operation?.operationId)),
    );
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('is made once, however often it is asked for', async () => {
    let made = 0;
    const openApi = () => {
      made += 1;
      return {};
    };
    const own = serviceRoutes({ ...JSON.parse('{}'), openApi }).find(({ path }) => path === '/openapi.json');
    for (let count = 0; count < 3; count += 1) await own?.handle(JSON.parse('{}'));
    expect(made).toBe(1);
  });
});

const TAGS = { 'kuma.io/service': 'web' };
const CALLS: readonly {
  method: string;
  path: string;
  template: string;
  status: number;
  body?: unknown;
  headers?: Record<string, string>;
}[] = [
  { method: 'GET', path: '/', template: '/', status: 200 },
  { method: 'GET', path: '/who-am-i', template: '/who-am-i', status: 200 },
  { method: 'GET', path: '/meshes', template: '/meshes', status: 200 },
  { method: 'GET', path: '/meshes/default', template: '/meshes/{name}', status: 200 },
  { method: 'GET', path: '/meshes/none', template: '/meshes/{name}', status: 404 },
  { method: 'PUT', path: '/meshes/default', template: '/meshes/{name}', status: 200, body: builtinMesh('default') },
  { method: 'PUT', path: '/meshes/1st', template: '/meshes/{name}', status: 201, body: { type: 'Mesh', name: '1st' } },
  { method: 'PUT', path: '/meshes/m', template: '/meshes/{name}', status: 400, body: { type: 'Mesh', name: 'n' } },
  {
    method: 'PUT',
    path: '/meshes/default/dataplanes/web',
    template: '/meshes/{mesh}/dataplanes/{name}',
    status: 201,
    body: dataplane('default', 'web', TAGS),
  },
  {
    method: 'POST',
    path: '/meshes/default/dataplanes/web/_certificate',
    template: '/meshes/{mesh}/dataplanes/{dataplane}/_certificate',
    status: 201,
    body: {},
  },
  {
    method: 'POST',
    path: '/meshes/default/dataplanes/web/_identity',
    template: '/meshes/{mesh}/dataplanes/{dataplane}/_identity',
    status: 200,
    body: {},
  },
  {
    method: 'GET',
    path: '/meshes/default/dataplanes/web/_overview',
    template: '/meshes/{mesh}/dataplanes/{name}/_overview',
    status: 200,
  },
  { method: 'GET', path: '/dataplanes/_overview', template: '/dataplanes/_overview', status: 200 },
  {
    method: 'GET',
    path: '/meshes/default/_trust-bundle',
    template: '/meshes/{mesh}/_trust-bundle',
    status: 200,
    headers: { accept: 'application/json' },
  },
];

describe('what is really answered', () => {
  it.each(CALLS)('fits its schema: $method $path', async ({ method, path, template, status, body, headers }) => {
    const answer = await test.request(method, path, body, headers);
    expect(answer.status).toBe(status);
    schemaOf(method, template, answer.status, String(answer.headers.get('content-type'))).parse(answer.json);
  });

  it('fits its schema in a stream, answers and errors', async () => {
    const lines = ['{"dataplane": "a", "tags": {"kuma.io/service": "a"}}', '{"dataplane": "b", "tagz": 1}', 'none'];
    const answer = await test.request('POST', '/meshes/default/_certificates', lines.join('\n'));
    const schema = schemaOf('POST', '/meshes/{mesh}/_certificates', 200, String(answer.headers.get('content-type')));
    const answers = answer.text.trim().split('\n');
    expect(answers).toHaveLength(3);
    for (const line of answers) schema.parse(JSON.parse(line));
    expect(schema.safeParse({ dataplane: 'a' }).success).toBe(false);
  });
});

/** Every object of ours is taken strictly: what is answered and not described is a mistake, too. */
function schemaOf(method: string, template: string, status: number, contentType: string): z.ZodType {
  const responses = api.paths?.[template]?.[method.toLowerCase()]?.responses;
  const response = responses?.[String(status)];
  if (response === undefined) {
    expect(responses?.default?.content?.['application/json']?.schema).toEqual({ $ref: '#/components/schemas/Problem' });
    return z.fromJSONSchema(strict(api.components?.schemas?.Problem));
  }
  const schema = response.content?.[contentType]?.schema;
  expect(schema).toBeDefined();
  return z.fromJSONSchema(strict(schema));
}

function strict(schema: Json | undefined): Parameters<typeof z.fromJSONSchema>[0] {
  return JSON.parse(JSON.stringify(schema), (_key, value) =>
    value?.type === 'object' && value.properties !== undefined && value.additionalProperties === undefined
      ? { ...value, additionalProperties: false }
      : value,
  );
}
