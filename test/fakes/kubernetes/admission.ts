import { randomInt, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { parse } from 'yaml';
import { parseCsr } from '../../../src/x509/csr.ts';
import { decodePem } from '../../../src/x509/pem.ts';
import { type CertificateRequest, GROUP_VERSION, type ObjectMeta } from './certificate-request.ts';
import { isObject, type JsonObject, objectAt, textAt } from './json.ts';
import { applySchema } from './schema.ts';
import { badRequest, type Cause, conflict, invalid, webhookDenied } from './status.ts';
import type { ClusterUser } from './test-cluster.ts';

/** What an API server and cert-manager's webhook make of a body: the object to store, or a refusal. */
const CRD_FILE = new URL('./certificaterequests-crd.yaml', import.meta.url);
const SCHEMA = readSchema();

function readSchema(): JsonObject {
  const crd: unknown = parse(readFileSync(CRD_FILE, 'utf8'));
  const versions = objectAt(crd, 'spec').versions;
  return objectAt(objectAt(Array.isArray(versions) ? versions[0] : {}, 'schema'), 'openAPIV3Schema');
}

const NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const NAME_RULE =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_VALUE = /^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/;
const LABEL_KEY = /^([a-z0-9]([-a-z0-9.]*[a-z0-9])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;
const LABEL_RULE =
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const SUFFIX = 'bcdfghjklmnpqrstvwxz2456789';
const SUFFIX_LENGTH = 5;

/** @throws StatusError 400, 403, 422 */
export function admitNew(body: unknown, namespace: string, user: ClusterUser, now: Date): CertificateRequest {
  const given = checkBody(body, namespace);
  const metadata = objectAt(given, 'metadata');
  const generateName = textAt(metadata, 'generateName');
  const name = textAt(metadata, 'name') ?? (generateName === undefined ? '' : generateName + randomSuffix());
  const causes: Cause[] = [];
  if (name === '') {
    causes.push(required('metadata.name', 'name or generateName is required'));
  } else if (!NAME.test(name) || name.length > 253) {
    causes.push(wrong('metadata.name', name, NAME_RULE));
  }
  checkMetadata(metadata, causes);
  const { status: _, ...withoutStatus } = given;
  const { spec } = asObject(applySchema(SCHEMA, withoutStatus, '', causes));
  if (causes.length > 0) throw invalid(name, causes);
  const admitted: JsonObject = {
    apiVersion: GROUP_VERSION,
    kind: 'CertificateRequest',
    metadata: {
      ...settableMetadata(metadata),
      name,
      namespace,
      ...(generateName === undefined ? {} : { generateName }),
      uid: randomUUID(),
      creationTimestamp: wholeSeconds(now),
      generation: 1,
      resourceVersion: '0',
    },
    // cert-manager's webhook writes down who asked.
    spec: { ...asObject(spec), username: user.username, groups: [...user.groups, 'system:authenticated'] },
  };
  const request = asRequest(admitted);
  checkByWebhook(request);
  return request;
}

/**
 * `part` is what may change: all but the status, or the status alone.
 * @throws StatusError 400, 403, 409, 422
 */
export function admitChange(before: CertificateRequest, body: unknown, part: 'main' | 'status'): CertificateRequest {
  const given = checkBody(body, before.metadata.namespace);
  const metadata = objectAt(given, 'metadata');
  const { name } = before.metadata;
  if ((textAt(metadata, 'name') ?? name) !== name) {
    throw badRequest(
      `the name of the object (${textAt(metadata, 'name')}) does not match the name on the URL (${name})`,
    );
  }
  const version = textAt(metadata, 'resourceVersion');
  if (version !== undefined && version !== before.metadata.resourceVersion) throw conflict(name);
  const uid = textAt(metadata, 'uid');
  if (uid !== undefined && uid !== before.metadata.uid) {
    throw conflict(
      name,
      `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${before.metadata.uid}`,
    );
  }
  const causes: Cause[] = [];
  if (part === 'main') checkMetadata(metadata, causes);
  const checked = asObject(applySchema(SCHEMA, given, '', causes));
  if (causes.length > 0) throw invalid(name, causes);
  if (part === 'status') return asRequest({ ...before, status: checked.status });
  const { username, groups } = before.spec;
  if (!isDeepStrictEqual({ username, groups, ...asObject(checked.spec) }, before.spec)) {
    throw webhookDenied('spec: Forbidden: cannot change spec after creation');
  }
  const { name: _, ...rest } = before.metadata;
  const { labels: _labels, annotations: _annotations, ownerReferences: _owners, ...fixed } = rest;
  return asRequest({ ...before, metadata: { ...settableMetadata(metadata), ...fixed, name } });
}

function checkBody(body: unknown, namespace: string): JsonObject {
  if (!isObject(body)) throw badRequest('the object provided is unrecognized (must be of type CertificateRequest)');
  if (body.kind !== 'CertificateRequest' || body.apiVersion !== GROUP_VERSION) {
    throw badRequest(
      `the API version in the data (${String(body.apiVersion)}) does not match the expected API version (${GROUP_VERSION})`,
    );
  }
  const given = textAt(body.metadata, 'namespace') ?? namespace;
  if (given !== namespace) {
    throw badRequest('the namespace of the provided object does not match the namespace sent on the request');
  }
  return body;
}

function settableMetadata(metadata: JsonObject): JsonObject {
  const kept = ['labels', 'annotations', 'ownerReferences'].flatMap((key) =>
    metadata[key] === undefined || metadata[key] === null ? [] : [[key, metadata[key]] as const],
  );
  return Object.fromEntries(kept);
}

function checkMetadata(metadata: JsonObject, causes: Cause[]): void {
  for (const [key, value] of Object.entries(objectAt(metadata, 'labels'))) {
    if (!LABEL_KEY.test(key))
      causes.push(wrong('metadata.labels', key, 'name part must consist of alphanumeric characters'));
    if (typeof value !== 'string' || value.length > 63) {
      causes.push(wrong('metadata.labels', value, 'must be no more than 63 characters'));
    } else if (!LABEL_VALUE.test(value)) {
      causes.push(wrong('metadata.labels', value, LABEL_RULE));
    }
  }
  const owners = Array.isArray(metadata.ownerReferences) ? metadata.ownerReferences : [];
  for (const owner of owners) {
    for (const key of ['apiVersion', 'kind', 'name', 'uid']) {
      if (!textAt(owner, key))
        causes.push(
          wrong(
            `metadata.ownerReferences.${key}`,
            '',
            key === 'apiVersion' ? 'version must not be empty' : 'must not be empty',
          ),
        );
    }
  }
}

function checkByWebhook({ spec }: CertificateRequest): void {
  if (spec.issuerRef.name === '') throw webhookDenied('spec.issuerRef.name: Required value: must be specified');
  try {
    const [block] = decodePem(Buffer.from(spec.request, 'base64').toString('utf8'));
    // Its signature is for the issuer to check.
    parseCsr(block?.der ?? Buffer.alloc(0));
  } catch (error) {
    const cause = error instanceof Error ? error.message : String(error);
    throw webhookDenied(
      `spec.request: Invalid value: ${JSON.stringify(spec.request.slice(0, 32))}: failed to decode csr: ${cause}`,
    );
  }
}

const required = (field: string, why: string): Cause => ({
  reason: 'FieldValueRequired',
  message: `Required value: ${why}`,
  field,
});
const wrong = (field: string, value: unknown, why: string): Cause => ({
  reason: 'FieldValueInvalid',
  message: `Invalid value: ${JSON.stringify(value)}: ${why}`,
  field,
});

function wholeSeconds(at: Date): string {
  return `${at.toISOString().slice(0, 19)}Z`;
}

function randomSuffix(): string {
  return Array.from({ length: SUFFIX_LENGTH }, () => SUFFIX[randomInt(SUFFIX.length)]).join('');
}

function asObject(value: unknown): JsonObject {
  return isObject(value) ? value : {};
}

/** What has been through the schema has the shape. */
function asRequest(value: JsonObject): CertificateRequest {
  const { metadata, spec } = value;
  if (!isObject(metadata) || !isObject(spec))
    throw new TypeError('the schema let through what is no CertificateRequest');
  return value as unknown as CertificateRequest & { metadata: ObjectMeta };
}
