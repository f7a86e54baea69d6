import { z } from 'zod';

/** The border: what of the API server's answers is used, with caps. Everything else is dropped. */

const text = z.string().max(4096);
const map = z.record(z.string(), z.string().max(256 * 1024)).nullish();

const metadata = z.object({
  name: z.string().min(1).max(253),
  uid: text.nullish(),
  resourceVersion: text.nullish(),
  creationTimestamp: text.nullish(),
  deletionTimestamp: text.nullish(),
  labels: map,
  annotations: map,
});

const condition = z.object({
  type: text,
  status: text,
  reason: text.nullish(),
  message: z.string().nullish(),
});

/** Base64 of PEM. */
const base64 = z.string().max(1024 * 1024);

/** `cert-manager.io/v1 CertificateRequest`. */
export const certificateRequest = z.object({
  metadata,
  spec: z.object({ request: base64 }),
  status: z
    .object({ conditions: z.array(condition).max(64).nullish(), certificate: base64.nullish(), ca: base64.nullish() })
    .nullish(),
});
export type CertificateRequest = z.output<typeof certificateRequest>;

const listMetadata = z.object({ resourceVersion: text, continue: text.nullish() });

/** An empty list is `null` in some answers of a real API server. */
const itemsOf = <S extends z.ZodType>(item: S) =>
  z
    .array(item)
    .max(20_000)
    .nullish()
    .transform((items) => items ?? []);

export const requestList = z.object({ metadata: listMetadata, items: itemsOf(certificateRequest) });

/** Of a list of which only names and annotations are wanted: `PartialObjectMetadataList`, or whole objects of an older server. */
export const nameList = z.object({
  metadata: listMetadata,
  items: itemsOf(z.object({ metadata })),
});
export type NamedObject = z.output<typeof nameList>['items'][number];

/** One line of a watch. */
export const watchEvent = z.object({ type: text, object: z.unknown() });

/** BOOKMARK: only the version is told. */
export const bookmark = z.object({ metadata: z.object({ resourceVersion: text }) });

/** `meta/v1 Status`: what every refusal is. */
export const statusBody = z.object({
  message: z.string().nullish(),
  code: z.number().nullish(),
  details: z.object({ retryAfterSeconds: z.number().min(0).max(86_400).nullish() }).nullish(),
});

/** `authorization.k8s.io/v1 SelfSubjectAccessReview`. */
export const accessReview = z.object({ status: z.object({ allowed: z.boolean() }) });

/** `v1 Namespace`. */
export const namespaceState = z.object({
  kind: z.literal('Namespace'),
  status: z.object({ phase: text.nullish() }).nullish(),
});

/** A deletion answers the object or a Status. An answer that is neither says nothing about whether it was done. */
export const deleted = z
  .object({
    kind: text,
    metadata: z.object({ uid: text.nullish() }).nullish(),
    details: z.object({ uid: text.nullish() }).nullish(),
  })
  .transform(({ metadata, details }) => ({ uid: details?.uid ?? metadata?.uid ?? undefined }));
