import { z } from 'zod';
import { KINDS, type Kind } from '../mesh/kinds.ts';
import { collectTags, formatTags } from '../mesh/tags.ts';
import type { ApiItem } from './api-client.ts';
import { CliError } from './cli-error.ts';
import { EXIT } from './exit-code.ts';
import type { TableContent } from './output.ts';
import { plainText } from './text.ts';
import { formatAgo } from './time-text.ts';

/** How resources of one kind look in a table. */
export interface TableView {
  readonly headers: readonly string[];
  row(item: ApiItem, now: Date): readonly string[];
}

/**
 * A view whose items are read by `schema` first.
 * @throws CliError (from `row`) when an item is not of that shape
 */
export function tableView<T>(
  headers: readonly string[],
  schema: z.ZodType<T>,
  row: (item: T, now: Date) => readonly string[],
): TableView {
  return {
    headers,
    row(item, now) {
      const { data, error } = schema.safeParse(item);
      if (error === undefined) return row(data, now).map(plainText);
      const field = error.issues[0]?.path.join('.') ?? '';
      throw new CliError('a resource has a shape that this version does not know', {
        exitCode: EXIT.operator,
        why: [plainText(`${String(item.type)} ${String(item.name)}: ${field}`)],
        fix: 'look at it as it is: add -o yaml',
      });
    },
  };
}

export function toTable(view: TableView, items: readonly ApiItem[], now: Date): TableContent {
  return { headers: view.headers, rows: items.map((item) => view.row(item, now)) };
}

export const metaSchema = z.looseObject({
  name: z.string(),
  mesh: z.string().default(''),
  modificationTime: z.string().optional(),
});

const backendsSchema = z
  .looseObject({
    enabledBackend: z.string().default(''),
    backends: z.array(z.looseObject({ name: z.string(), type: z.string() })).default([]),
  })
  .prefault({});
type Backends = z.output<typeof backendsSchema>;

const meshSchema = metaSchema.extend({
  mtls: backendsSchema,
  metrics: backendsSchema,
  logging: backendsSchema,
  tracing: backendsSchema,
  routing: z
    .looseObject({ localityAwareLoadBalancing: z.boolean().default(false), zoneEgress: z.boolean().default(false) })
    .prefault({}),
});

const listenerSchema = z.looseObject({
  port: z.number().optional(),
  tags: z.record(z.string(), z.string()).default({}),
  health: z.looseObject({ ready: z.boolean().default(false) }).optional(),
  state: z.string().optional(),
});
export const networkingSchema = z
  .looseObject({
    address: z.string().default(''),
    advertisedAddress: z.string().default(''),
    inbound: z.array(listenerSchema).default([]),
    gateway: listenerSchema.optional(),
  })
  .prefault({});
export type NetworkingView = z.output<typeof networkingSchema>;

const dataplaneSchema = metaSchema.extend({ networking: networkingSchema });

/** Tags of all inbounds merged, or of the gateway: `kuma.io/service=a,b version=v1`. */
export function formatNetworkingTags({ inbound, gateway }: NetworkingView): string {
  const listeners = gateway === undefined ? inbound : [gateway];
  return formatTags(
    collectTags(
      listeners.flatMap(({ tags }) => Object.entries(tags)),
      'tags',
      [],
    ),
  );
}

const formatBackend = ({ name, type }: Backends['backends'][number]) => `${type}/${name}`;
const formatBackends = ({ backends }: Backends) => backends.map(formatBackend).join(', ') || 'off';
const formatOn = (on: boolean) => (on ? 'on' : 'off');
function formatEnabled({ enabledBackend, backends }: Backends): string {
  const enabled = backends.find(({ name }) => name === enabledBackend);
  return enabled === undefined ? 'off' : formatBackend(enabled);
}

const BASIC_VIEW = tableView(['MESH', 'NAME', 'AGE'], metaSchema, ({ mesh, name, modificationTime }, now) => [
  mesh,
  name,
  formatAgo(modificationTime, now),
]);

/** kumactl's columns, by kind; kinds that are not here have mesh, name and age. */
const VIEWS: Readonly<Record<string, TableView>> = {
  Mesh: tableView(
    ['NAME', 'mTLS', 'METRICS', 'LOGGING', 'TRACING', 'LOCALITY', 'ZONEEGRESS', 'AGE'],
    meshSchema,
    (mesh, now) => [
      mesh.name,
      formatEnabled(mesh.mtls),
      formatEnabled(mesh.metrics),
      formatBackends(mesh.logging),
      formatBackends(mesh.tracing),
      formatOn(mesh.routing.localityAwareLoadBalancing),
      formatOn(mesh.routing.zoneEgress),
      formatAgo(mesh.modificationTime, now),
    ],
  ),
  Dataplane: tableView(['MESH', 'NAME', 'TAGS', 'ADDRESS', 'AGE'], dataplaneSchema, (dataplane, now) => [
    dataplane.mesh,
    dataplane.name,
    formatNetworkingTags(dataplane.networking),
    dataplane.networking.advertisedAddress || dataplane.networking.address,
    formatAgo(dataplane.modificationTime, now),
  ]),
};

export const viewOf = (kind: Kind): TableView => VIEWS[kind.type] ?? BASIC_VIEW;

/** A kind by what a user types: `mesh`, `meshes`, `Mesh`. */
export function findKindByWord(word: string): Kind | undefined {
  return KINDS.find((kind) => kind.path === word || kind.type.toLowerCase() === word.toLowerCase());
}

/** The words that `get` and `delete` take, for help and errors. */
export const kindWords = (form: 'singular' | 'plural'): string =>
  KINDS.map((kind) => (form === 'plural' ? kind.path : kind.type.toLowerCase())).join(', ');

/** `/meshes/default/secrets/x`; without a name, the list. */
export function resourcePath(kind: Kind, mesh: string, name?: string): string {
  const list = kind.scope === 'Global' ? `/${kind.path}` : `/meshes/${encodeURIComponent(mesh)}/${kind.path}`;
  return name === undefined ? list : `${list}/${encodeURIComponent(name)}`;
}
