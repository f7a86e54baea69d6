import { z } from 'zod';
import { RequestInvalidError } from '../issuer/errors.ts';
import { plainText } from '../text/plain-text.ts';
import { SECRET_TYPE_URL } from './protocol.ts';

/** Longest of Envoy's own words that is kept. */
const MAX_REASON = 500;
const MAX_NAMES = 64;
const MAX_TAGS = 256;
const MAX_VALUES = 64;

/** What a proxy says of itself, in its first request. */
export interface NodeInfo {
  readonly id: string;
  /** `metadata.tags`, each a text or a list of texts; undefined when there is none. */
  readonly tags: ReadonlyMap<string, readonly string[]> | undefined;
}

/** A request of either protocol. */
export interface XdsRequest {
  readonly node: NodeInfo | undefined;
  readonly nonce: string;
  /** Set: it refuses what came with the nonce. One line, capped. */
  readonly refusal: string | undefined;
  /** State of the world: what it holds (as it understands it) and ALL names it wants. */
  readonly holds: string;
  readonly names: readonly string[];
  /** Incremental: names it wants as well, names it wants no longer, and what it holds when its stream begins. */
  readonly subscribe: readonly string[];
  readonly unsubscribe: readonly string[];
  readonly initial: ReadonlyMap<string, string>;
}

const text = z.string().max(4096);
const name = z.string().max(253, 'a name has more than 253 characters');
const names = z.array(name).max(MAX_NAMES, `more than ${MAX_NAMES} names`);
const tagText = z.string().max(253);

const tagValue = z
  .looseObject({
    stringValue: tagText.optional(),
    listValue: z
      .looseObject({ values: z.array(z.looseObject({ stringValue: tagText })).max(MAX_VALUES) })
      .nullish()
      .transform((list) => list?.values.map((value) => value.stringValue)),
  })
  .transform(({ stringValue, listValue }): readonly string[] => listValue ?? [stringValue ?? '']);

const tagStruct = z
  .looseObject({ fields: z.record(tagText, tagValue) })
  .refine(({ fields }) => Object.keys(fields).length <= MAX_TAGS, `more than ${MAX_TAGS} tags`)
  .transform(({ fields }) => new Map(Object.entries(fields)));

const node = z
  .looseObject({
    id: z.string().max(512, 'node.id has more than 512 characters'),
    metadata: z
      .looseObject({
        fields: z
          .looseObject({ tags: z.looseObject({ structValue: tagStruct.nullish() }).optional() })
          .transform(({ tags }) => tags?.structValue ?? undefined),
      })
      .nullish()
      .transform((metadata) => metadata?.fields),
  })
  .transform(({ id, metadata }): NodeInfo => ({ id, tags: metadata }))
  .nullish()
  .transform((value) => value ?? undefined);

const common = {
  node,
  typeUrl: text,
  responseNonce: z.string().max(128),
  errorDetail: z
    .looseObject({ message: z.string() })
    .nullish()
    .transform((detail) => (detail ? plainText(detail.message, MAX_REASON) : undefined)),
};

const stateOfTheWorld = z.looseObject({ ...common, versionInfo: text, resourceNames: names });

const incremental = z.looseObject({
  ...common,
  resourceNamesSubscribe: names,
  resourceNamesUnsubscribe: names,
  initialResourceVersions: z
    .record(name, text)
    .refine((versions) => Object.keys(versions).length <= MAX_NAMES, `more than ${MAX_NAMES} versions`),
});

const NOTHING = { holds: '', names: [], subscribe: [], unsubscribe: [], initial: new Map<string, string>() } as const;

/** @throws RequestInvalidError when it is over a cap, or asks for something else than secrets */
export function readDiscoveryRequest(message: unknown): XdsRequest {
  const { versionInfo, resourceNames, ...request } = parse(stateOfTheWorld, message);
  return { ...NOTHING, ...readCommon(request), holds: versionInfo, names: resourceNames };
}

/** @throws RequestInvalidError when it is over a cap, or asks for something else than secrets */
export function readDeltaRequest(message: unknown): XdsRequest {
  const request = parse(incremental, message);
  return {
    ...NOTHING,
    ...readCommon(request),
    subscribe: request.resourceNamesSubscribe,
    unsubscribe: request.resourceNamesUnsubscribe,
    initial: new Map(Object.entries(request.initialResourceVersions)),
  };
}

type Common = z.output<z.ZodObject<typeof common>>;

function readCommon({ node, typeUrl, responseNonce, errorDetail }: Common): {
  readonly node: NodeInfo | undefined;
  readonly nonce: string;
  readonly refusal: string | undefined;
} {
  if (typeUrl !== '' && typeUrl !== SECRET_TYPE_URL) {
    throw new RequestInvalidError(`type_url ${JSON.stringify(plainText(typeUrl, 200))} is not served here`, {
      fix: `ask for ${SECRET_TYPE_URL}`,
    });
  }
  return { node, nonce: responseNonce, refusal: errorDetail };
}

function parse<S extends z.ZodType>(schema: S, message: unknown): z.output<S> {
  const read = schema.safeParse(message);
  if (read.success) return read.data;
  const [first] = read.error.issues;
  const where = plainText(first?.path.map(String).join('.') ?? '', 100);
  throw new RequestInvalidError(`discovery request not accepted: ${where}: ${plainText(first?.message ?? '', 200)}`);
}
