import { KINDS, type Kind } from '../../mesh/kinds.ts';
import type { Overviews } from '../../resources/overview.ts';
import { labelsOf, resourceJson, type ZoneLabels } from '../../resources/resource-json.ts';
import type { ListFilter, Resources } from '../../resources/resources.ts';
import { matchesGateway } from '../../resources/tag-filter.ts';
import type { ResourcePage } from '../../store/store.ts';
import {
  DATAPLANE_LIST_QUERY,
  ITEM_QUERY,
  LIST_QUERY,
  type ListQuery,
  readListQuery,
  requireFormat,
} from '../list-query.ts';
import { PUT_QUERY, readPutQuery } from '../read-put-query.ts';
import { type Answer, type Call, json, type Reply, type Route } from '../route.ts';
import { anyJson, putAnswer, resource, resourceList } from '../schemas.ts';

/** A Mesh with 64 backends and a Secret of 1 MiB in base64 fit. */
const MAX_BODY_BYTES = 2 * 1024 * 1024;
/** More than there can be; SQLite takes no more than that as a number of rows. */
const ALL = 2_147_483_647;

export interface ResourceRoutesOptions {
  readonly resources: Resources;
  readonly overviews: Overviews;
  readonly zone: ZoneLabels;
}

/** GET, list, PUT and DELETE of every kind, as Kuma 2.14 shapes them. */
export function resourceRoutes(options: ResourceRoutesOptions): readonly Route[] {
  return KINDS.flatMap((kind) => [...overviewRoutes(kind, options), ...kindRoutes(kind, options)]);
}

function kindRoutes(kind: Kind, options: ResourceRoutesOptions): readonly Route[] {
  const { resources, zone } = options;
  const base = kind.scope === 'Mesh' ? `/meshes/:mesh/${kind.path}` : `/${kind.path}`;
  const common = { tag: 'resources', access: 'admin', resourceType: kind.type } as const;
  const item: Answer = { description: `A ${kind.type}`, content: { 'application/json': resource } };
  const list = async (call: Call, mesh: string | undefined): Promise<Reply> => {
    const query = readListQuery(call.query, mesh, kind.type === 'Dataplane');
    const { items, total } = await readPage(options, kind, query);
    return json(200, {
      total,
      items: items.map((stored) => resourceJson(stored, zone)),
      next: nextPage(call, query.page, total),
    });
  };
  const query = kind.type === 'Dataplane' ? DATAPLANE_LIST_QUERY : LIST_QUERY;
  const listAnswers = {
    200: { description: `A page of ${kind.pluralDisplayName}`, content: { 'application/json': resourceList } },
  };
  const routes: Route[] = [
    {
      ...common,
      method: 'GET',
      path: base,
      summary: `List ${kind.pluralDisplayName}`,
      query,
      answers: listAnswers,
      handle: (call) => list(call, kind.scope === 'Mesh' ? (call.params.mesh ?? '') : undefined),
    },
    {
      ...common,
      method: 'GET',
      path: `${base}/:name`,
      summary: `Read a ${kind.type}`,
      query: ITEM_QUERY,
      answers: { 200: item },
      async handle({ params: { mesh = '', name = '' }, query }) {
        requireFormat(query);
        return json(200, resourceJson(await resources.get(kind, mesh, name), zone));
      },
    },
    {
      ...common,
      method: 'PUT',
      path: `${base}/:name`,
      summary: `Create or replace a ${kind.type}`,
      query: PUT_QUERY,
      body: { kind: 'resource', schema: anyJson, maxBytes: MAX_BODY_BYTES },
      answers: {
        201: { description: 'Created', content: { 'application/json': putAnswer } },
        200: { description: 'Replaced, or checked only', content: { 'application/json': putAnswer } },
      },
      // Kuma looks for the mesh before it looks at the body.
      before: async ({ params: { mesh = '' } }) => {
        if (kind.scope === 'Mesh') await resources.requireMesh(mesh);
      },
      async handle({ params: { mesh = '', name = '' }, query, body, signal }) {
        const asked = readPutQuery(query);
        const { created, warnings } = await resources.put(kind, mesh, name, body, { signal, ...asked });
        return json(created && !asked.dryRun ? 201 : 200, warnings.length === 0 ? {} : { warnings });
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
      query,
      answers: listAnswers,
      handle: (call) => list(call, undefined),
    });
  }
  return routes;
}

/** Kuma's overviews, under their present and their old paths. */
function overviewRoutes(kind: Kind, options: ResourceRoutesOptions): readonly Route[] {
  const { resources, overviews } = options;
  if (kind.type !== 'Dataplane') return [];
  const common = { method: 'GET', tag: 'resources', access: 'admin', resourceType: kind.type } as const;
  const one: Route['handle'] = async ({ params: { mesh = '', name = '' }, query }) => {
    requireFormat(query);
    try {
      return json(200, await overviews.one(await resources.get(kind, mesh, name)));
    } catch (error) {
      const seen = await overviews.unregistered(mesh, name);
      if (seen === undefined) throw error;
      return json(200, await overviews.one(seen));
    }
  };
  const list: Route['handle'] = async (call) => {
    const { mesh } = call.params;
    const query = readListQuery(call.query, mesh, true);
    const { tags, name, offset, size } = query.page;
    const page = await readPage(options, kind, query);
    // They have no tags or labels that we know of, and come after those that are registered.
    const byName = tags === undefined && query.gateway === undefined && Object.keys(query.labels).length === 0;
    const seen = mesh === undefined || !byName ? [] : await overviews.listUnregistered(mesh, page, name);
    const from = Math.max(0, offset - page.total);
    const shown = [...page.items, ...seen.slice(from, from + size - page.items.length)];
    const total = page.total + seen.length;
    return json(200, { total, items: await overviews.many(shown), next: nextPage(call, query.page, total) });
  };
  const listRoute = {
    ...common,
    query: DATAPLANE_LIST_QUERY,
    answers: { 200: { description: 'A page', content: { 'application/json': resourceList } } },
  };
  const oneRoute = {
    ...common,
    query: ITEM_QUERY,
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

/** A page of what fits all filters. Those that the store does not know are applied here. */
async function readPage(
  { resources, zone }: ResourceRoutesOptions,
  kind: Kind,
  { page, labels, gateway }: ListQuery,
): Promise<ResourcePage> {
  const wanted = Object.entries(labels);
  if (wanted.length === 0 && gateway === undefined) return resources.list(kind, page);
  const { items } = await resources.list(kind, { ...page, offset: 0, size: ALL });
  const fitting = items.filter((stored) => {
    if (gateway !== undefined && !matchesGateway(stored, gateway)) return false;
    const held = labelsOf(stored, zone);
    return wanted.every(([name, value]) => held[name] === value);
  });
  return { items: fitting.slice(page.offset, page.offset + page.size), total: fitting.length };
}

function nextPage(call: Call, { size, offset }: ListFilter, total: number): string | null {
  if (offset + size >= total) return null;
  const { query, origin, url } = call;
  query.set('offset', String(offset + size));
  query.set('size', String(size));
  return `${origin}${url.split('?', 1)[0]}?${query.toString()}`;
}
