import { z } from 'zod';
import type { Access } from './access.ts';
import { type Answer, openApiPath, type Route } from './route.ts';
import { problem } from './schemas.ts';

/** OpenAPI 3.1 of the routes: made from the very schemas that check requests. */
export function createOpenApi(routes: readonly Route[], version: string): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const route of routes) {
    const path = openApiPath(route.path);
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operation(route, path) };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'mesh-ca',
      version,
      description: 'Certificates and trust bundles for the data planes of service meshes.',
    },
    paths,
    components: {
      schemas: { Problem: schemaOf(problem) },
      securitySchemes: {
        token: {
          type: 'http',
          scheme: 'bearer',
          description: 'Not needed from localhost, unless localhostIsAdmin is false',
        },
      },
    },
  };
}

/** Absent: nobody is asked. `{}` beside the token: it may be left out. */
const SECURITY: Readonly<Record<Access, object>> = {
  anyone: {},
  known: { security: [{}, { token: [] }] },
  admin: { security: [{ token: [] }] },
};

function operation(route: Route, path: string): object {
  const parameters = [
    ...[...path.matchAll(/\{([a-zA-Z]+)\}/g)].map(([, name]) => ({
      name,
      in: 'path',
      required: true,
      schema: { type: 'string' },
    })),
    ...Object.entries(route.query ?? {}).map(([name, description]) => ({
      name,
      in: 'query',
      description,
      schema: { type: 'string' },
    })),
  ];
  return {
    operationId: `${route.method.toLowerCase()}${path.replaceAll(/[^a-zA-Z]+(.)?/g, (_, next: string | undefined) => (next ?? '').toUpperCase())}`,
    summary: route.summary,
    tags: [route.tag],
    ...SECURITY[route.access],
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(route.body === undefined
      ? {}
      : {
          requestBody: {
            required: !(route.body.kind === 'json' && route.body.optional === true),
            content: {
              [route.body.kind === 'lines' ? 'application/x-ndjson' : 'application/json']: {
                schema: schemaOf(route.body.schema),
              },
            },
          },
        }),
    responses: {
      ...Object.fromEntries(Object.entries(route.answers).map(([status, answer]) => [status, response(answer)])),
      default: {
        description: 'An error',
        content: { 'application/json': { schema: { $ref: '#/components/schemas/Problem' } } },
      },
    },
  };
}

function response({ description, content }: Answer): object {
  if (content === undefined) return { description };
  const types = Object.entries(content).map(([type, schema]) => [type, { schema: schemaOf(schema) }]);
  return { description, content: Object.fromEntries(types) };
}

function schemaOf(schema: z.ZodType): object {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: 'input' });
  return rest;
}
