import { ConfigError, RequestInvalidError } from '../../issuer/errors.ts';
import { KINDS, type Kind } from '../../mesh/kinds.ts';
import type { Overviews } from '../../resources/overview.ts';
import { ResourceError } from '../../resources/resource-error.ts';
import { resourceJson, type ZoneLabels } from '../../resources/resource-json.ts';
import type { ListFilter, Resources } from '../../resources/resources.ts';
import { type Answer, type Call, json, type Reply, type Route } from '../route.ts';
import { anyJson, putAnswer, resource, resourceList } from '../schemas.ts';

/** A Mesh with 64 backends and a Secret of 1 MiB in base64 fit. */
const MAX_BODY_BYTES = 2 * 1024 * 1024;
const DEFAULT_PAGE = 100;
const LARGEST_PAGE = 1000;

const LIST_QUERY = {
  size: `Items a page, at most ${LARGEST_PAGE}`,
  offset: 'Items to pass over',
  name: 'A part of the name',
  tag: 'key:value, repeatable; data planes only',
};

export interface ResourceRoutesOptions {
  readonly resources: Resources;
  readonly overviews: Overviews;
  readonly zone: ZoneLabels;
}

/** GET, list, PUT and DELETE of every kind, as Kuma 2.14 shapes them. */
export function resourceRoutes(options: ResourceRoutesOptions): readonly Route[] {
  return KINDS.flatMap((kind) => [...overviewRoutes(kind, options), ...kindRoutes(kind, options)]);
}

function kindRoutes(kind: Kind, { resources, zone }: ResourceRoutesOptions): readonly Route[] {
  const base = kind.scope === 'Mesh' ? `/meshes/:mesh/${kind.path}` : `/${kind.path}`;
  const common = { tag: 'resources', access: 'admin', resourceType: kind.type } as const;
  const item: Answer = { description: `A ${kind.type}`, content: { 'application/json': resource } };
  const list = async (call: Call, mesh: string | undefined): Promise<Reply> => {
    const filter = readFilter(call.query, mesh);
    const page = await resources.list(kind, filter);
    return json(200, {
      total: page.total,
      items: page.items.map((stored) => resourceJson(stored, zone)),
      next: nextPage(call, filter, page.total),
    });
  };
  const listAnswers = {
    200: { description: `A page of ${kind.pluralDisplayName}`, content: { 'application/json': resourceList } },
  };
  const routes: Route[] = [
    {
      ...common,
      method: 'GET',
      path: base,
      summary: `List ${kind.pluralDisplayName}`,
      query: LIST_QUERY,
      answers: listAnswers,
      handle: (call) => list(call, kind.scope === 'Mesh' ? (call.params.mesh ?? '') : undefined),
    },
    {
      ...common,
      method: 'GET',
      path: `${base}/:name`,
      summary: `Read a ${kind.type}`,
      answers: { 200: item },
      async handle({ params: { mesh = '', name = '' } }) {
        return json(200, resourceJson(await resources.get(kind, mesh, name), zone));
      },
    },
    {
      ...common,
      method: 'PUT',
      path: `${base}/:name`,
      summary: `Create or replace a ${kind.type}`,
      body: { kind: 'resource', schema: anyJson, maxBytes: MAX_BODY_BYTES },
      answers: {
        201: { description: 'Created', content: { 'application/json': putAnswer } },
        200: { description: 'Replaced', content: { 'application/json': putAnswer } },
      },
      async handle({ params: { mesh = '', name = '' }, body, signal }) {
        const { created, warnings } = await resources.put(kind, mesh, name, body, { signal });
        return json(created ? 201 : 200, warnings.length === 0 ? {} : { warnings });
      },
    },
    {
      ...common,
      method: 'DELETE',
      path: `${base}/:name`,
      summary: `Delete a ${kind.type}`,
      answers: { 200: { description: 'Deleted', content: { 'application/json': anyJson } } },
      async handle({ params: { mesh = '', name = '' }, signal }) {
        await resources.delete(kind, mesh, name, { signal });
        return json(200, {});
      },
    },
  ];
  if (kind.scope === 'Mesh') {
    routes.push({
      ...common,
      method: 'GET',
      path: `/${kind.path}`,
      summary: `List ${kind.pluralDisplayName} of all meshes`,
      query: LIST_QUERY,
      answers: listAnswers,
      handle: (call) => list(call, undefined),
    });
  }
  return routes;
}

/** Kuma's overviews, under their present and their old paths. */
function overviewRoutes(kind: Kind, { resources, overviews }: ResourceRoutesOptions): readonly Route[] {
  if (kind.type !== 'Dataplane') return [];
  const common = { method: 'GET', tag: 'resources', access: 'admin', resourceType: kind.type } as const;
  const one: Route['handle'] = async ({ params: { mesh = '', name = '' } }) => {
    try {
      return json(200, await overviews.one(await resources.get(kind, mesh, name)));
    } catch (error) {
      const seen = (await overviews.unregistered(mesh, name)).find((stored) => stored.name === name);
      if (seen === undefined) throw error;
      return json(200, await overviews.one(seen));
    }
  };
  const list: Route['handle'] = async (call) => {
    const { mesh } = call.params;
    const filter = readFilter(call.query, mesh);
    const page = await resources.list(kind, filter);
    // They have no tags that we know of, and come after those that are registered.
    const seen = mesh === undefined || filter.tags !== undefined ? [] : await overviews.unregistered(mesh, filter.name);
    const from = Math.max(0, filter.offset - page.total);
    const shown = [...page.items, ...seen.slice(from, from + filter.size - page.items.length)];
    const total = page.total + seen.length;
    return json(200, { total, items: await overviews.many(shown), next: nextPage(call, filter, total) });
  };
  const listRoute = {
    ...common,
    query: LIST_QUERY,
    answers: { 200: { description: 'A page', content: { 'application/json': resourceList } } },
  };
  const oneRoute = {
    ...common,
    answers: { 200: { description: 'An overview', content: { 'application/json': resource } } },
  };
  return [
    {
      ...listRoute,
      path: '/meshes/:mesh/dataplanes/_overview',
      summary: 'Data planes with their certificates',
      handle: list,
    },
    {
      ...listRoute,
      path: '/meshes/:mesh/dataplanes\\+insights',
      summary: 'Same as _overview, old path of Kuma',
      handle: list,
    },
    {
      ...listRoute,
      path: '/dataplanes/_overview',
      summary: 'Data planes of all meshes with their certificates',
      handle: list,
    },
    {
      ...oneRoute,
      path: '/meshes/:mesh/dataplanes/:name/_overview',
      summary: 'A data plane with its certificate',
      handle: one,
    },
    {
      ...oneRoute,
      path: '/meshes/:mesh/dataplanes\\+insights/:name',
      summary: 'Same as _overview, old path of Kuma',
      handle: one,
    },
  ];
}

/** Kuma checks page size and filters before it looks for the mesh. */
function readFilter(query: URLSearchParams, mesh: string | undefined): ListFilter {
  const name = query.get('name');
  const tags = query.getAll('tag').slice(0, 64);
  return {
    ...(mesh === undefined ? {} : { mesh }),
    ...(name === null || name === '' ? {} : { name }),
    ...(tags.length === 0 ? {} : { tags }),
    size: readSize(query.get('size')),
    offset: readOffset(query.get('offset')),
  };
}

function readSize(text: string | null): number {
  if (text === null) return DEFAULT_PAGE;
  const size = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (size >= 1 && size <= LARGEST_PAGE) return size;
  const message =
    size > LARGEST_PAGE ? `Invalid page size of ${size}. Maximum page size is ${LARGEST_PAGE}` : 'Invalid format';
  throw new ResourceError(
    'list',
    'Invalid page size',
    new ConfigError('Invalid page size', { violations: [{ field: 'size', message }] }),
  );
}

function readOffset(text: string | null): number {
  if (text === null || text === '') return 0;
  if (/^\d{1,9}$/.test(text)) return Number(text);
  const detail = `invalid: invalid offset: strconv.Atoi: parsing ${JSON.stringify(text.slice(0, 40))}: invalid syntax`;
  throw new ResourceError('list', detail, new RequestInvalidError(detail));
}

function nextPage(call: Call, { size, offset }: ListFilter, total: number): string | null {
  if (offset + size >= total) return null;
  const { query, origin, url } = call;
  query.set('offset', String(offset + size));
  query.set('size', String(size));
  return `${origin}${url.split('?', 1)[0]}?${query.toString()}`;
}
