import { z } from 'zod';
import type { Violation } from '../issuer/errors.ts';
import type { Tags } from '../issuer/issuer.ts';
import { checkNetworking } from './dataplane-rules.ts';
import type { Labels } from './labels.ts';
import { labels, optional, text, unlessEmpty, verbatim, withoutUndefined } from './shape.ts';
import { collectTags, SERVICE_TAG, WORKLOAD_LABEL, ZONE_TAG } from './tags.ts';
import { describeType, type JsonObject, readShapeAndRules, throwIfAny } from './violations.ts';

/** A Dataplane: one proxy. What no rule here needs is kept as it was written. */
export interface Dataplane {
  readonly type: 'Dataplane';
  readonly mesh: string;
  readonly name: string;
  readonly labels?: Labels | undefined;
  readonly networking: Networking;
  readonly metrics?: JsonObject | undefined;
  readonly probes?: JsonObject | undefined;
  readonly envoy?: JsonObject | undefined;
}

export interface Networking {
  readonly address: string;
  readonly inbound: readonly Inbound[];
  readonly outbound: readonly Outbound[];
  readonly gateway?: Gateway | undefined;
  readonly [other: string]: unknown;
}

/** Tags of one listener: one value each. */
export type PlainTags = Readonly<Record<string, string>>;

export interface Inbound {
  readonly port: number;
  readonly servicePort: number;
  readonly address: string;
  readonly serviceAddress: string;
  readonly tags: PlainTags;
  readonly [other: string]: unknown;
}

export interface Outbound {
  readonly port: number;
  readonly address: string;
  readonly tags: PlainTags;
  readonly [other: string]: unknown;
}

export interface Gateway {
  readonly type: 'DELEGATED' | 'BUILTIN';
  readonly tags: PlainTags;
  readonly [other: string]: unknown;
}

const MAX_LISTENERS = 1024;
const GATEWAY_TYPES = ['DELEGATED', 'BUILTIN'] as const;

/** Protobuf JSON writes integers as numbers or texts. */
const port = z
  .unknown()
  .optional()
  .transform((value, context) => {
    if (value === undefined || value === null) return 0;
    if (typeof value === 'number') return value;
    if (typeof value === 'string' && /^[0-9]{1,10}$/.test(value)) return Number(value);
    context.addIssue(`has to be a number, got ${describeType(value)}`);
    return z.NEVER;
  });

const plainTags = z
  .record(z.string(), z.string())
  .nullish()
  .transform((value): PlainTags => value ?? {});

const listOf = <S extends z.ZodType>(schema: S) =>
  z
    .array(schema)
    .max(MAX_LISTENERS)
    .nullish()
    .transform((value) => value ?? []);

const inbound = z.looseObject({
  port,
  servicePort: port,
  address: text(253),
  serviceAddress: text(253),
  tags: plainTags,
});
const outbound = z.looseObject({ port, address: text(253), tags: plainTags });

const gatewayType = z
  .union(
    [
      z.enum(GATEWAY_TYPES),
      z.literal(0).transform(() => 'DELEGATED' as const),
      z.literal(1).transform(() => 'BUILTIN' as const),
    ],
    { error: `has to be one of ${GATEWAY_TYPES.join(', ')}` },
  )
  .nullish()
  .transform((value) => value ?? 'DELEGATED');

const dataplaneSchema = z.object({
  labels: labels(),
  networking: optional(
    z.looseObject({
      address: text(253),
      inbound: listOf(inbound),
      outbound: listOf(outbound),
      gateway: optional(z.looseObject({ type: gatewayType, tags: plainTags })),
    }),
  ),
  metrics: verbatim(),
  probes: verbatim(),
  envoy: verbatim(),
});

/**
 * A Dataplane from JSON, checked with Kuma's rules and ours on tags: at most 256 tags and 64 values of a tag over all inbounds.
 * @throws ConfigError with all violations
 */
export function parseDataplane(
  input: unknown,
  { name, mesh }: { readonly name: string; readonly mesh: string },
): Dataplane {
  const violations: Violation[] = [];
  const shape = readShapeAndRules(dataplaneSchema, input, dataplaneRules, violations);
  throwIfAny(violations, `dataplane ${JSON.stringify(name)}`);
  return { type: 'Dataplane', mesh, name, ...shape, networking: shape?.networking ?? NO_NETWORKING };
}

function dataplaneRules({ labels, networking }: z.output<typeof dataplaneSchema>): Violation[] {
  if (networking === undefined) return [{ field: 'networking', message: 'must be defined' }];
  const violations = checkNetworking(networking, labels ?? {});
  if (violations.length === 0) collectTags(listenerTags(networking), 'networking.tags', violations);
  return violations;
}

const NO_NETWORKING: Networking = { address: '', inbound: [], outbound: [] };

/** Protobuf JSON as Kuma answers it, without type, mesh, name and times. */
export function dataplaneToJson({ labels, networking, metrics, probes, envoy }: Dataplane): JsonObject {
  const { address, inbound, outbound, gateway, ...others } = networking;
  return withoutUndefined({
    labels,
    networking: withoutUndefined({
      address,
      gateway: gateway && listenerToJson({ ...gateway, type: gateway.type === 'DELEGATED' ? undefined : gateway.type }),
      inbound: unlessEmpty(inbound.map(listenerToJson)),
      outbound: unlessEmpty(outbound.map(listenerToJson)),
      ...others,
    }),
    metrics,
    probes,
    envoy,
  });
}

/**
 * Who this data plane is: the tags of all its inbounds merged, or those of its gateway. Where no tag names a service, the label
 * `kuma.io/workload` does.
 */
export function tagsOf(dataplane: Pick<Dataplane, 'networking' | 'labels'>): Tags {
  const entries = listenerTags(dataplane.networking);
  const workload = dataplane.labels?.[WORKLOAD_LABEL];
  if (workload && !entries.some(([name]) => name === SERVICE_TAG)) entries.push([SERVICE_TAG, workload]);
  return collectTags(entries, 'tags', []);
}

/** What Kuma does on PUT: each inbound and the gateway get the tag `kuma.io/zone` of the zone that they are in. */
export function withZoneTag(dataplane: Dataplane, zone: string): Dataplane {
  const tagged = <L extends { readonly tags: PlainTags }>(listener: L): L => ({
    ...listener,
    tags: { ...listener.tags, [ZONE_TAG]: zone },
  });
  const { inbound, gateway } = dataplane.networking;
  return {
    ...dataplane,
    networking: {
      ...dataplane.networking,
      inbound: inbound.map(tagged),
      ...(gateway && { gateway: tagged(gateway) }),
    },
  };
}

function listenerTags({ inbound, gateway }: Networking): [string, string][] {
  return [...(gateway ? [gateway] : inbound)].flatMap(({ tags }) => Object.entries(tags));
}

/** Without what is zero or empty. */
function listenerToJson(listener: Readonly<Record<string, unknown>>): JsonObject {
  const isSet = (value: unknown) => value !== undefined && value !== '' && value !== 0 && !isEmptyObject(value);
  return Object.fromEntries(Object.entries(listener).filter(([, value]) => isSet(value)));
}

function isEmptyObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0;
}
