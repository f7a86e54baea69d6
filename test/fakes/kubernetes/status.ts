import type { JsonObject } from './json.ts';

/** An answer that is not a success: thrown by whoever finds the reason, written by the server. */
export class StatusError extends Error {
  readonly code: number;
  readonly body: JsonObject;

  constructor(code: number, reason: string, message: string, details?: JsonObject) {
    super(message);
    this.code = code;
    this.body = statusBody({ status: 'Failure', message, reason, ...(details && { details }), code });
  }
}

export function statusBody(fields: JsonObject): JsonObject {
  return { kind: 'Status', apiVersion: 'v1', metadata: {}, ...fields };
}

/** `meta/v1.StatusCause` of a 422. */
export interface Cause {
  readonly reason: 'FieldValueRequired' | 'FieldValueInvalid' | 'FieldValueTypeInvalid' | 'FieldValueNotSupported';
  readonly message: string;
  readonly field: string;
}

export const RESOURCE = { group: 'cert-manager.io', kind: 'certificaterequests' } as const;
const QUALIFIED = `${RESOURCE.kind}.${RESOURCE.group}`;

export const unauthorized = () => new StatusError(401, 'Unauthorized', 'Unauthorized');

export const notFound = (name: string) =>
  new StatusError(404, 'NotFound', `${QUALIFIED} "${name}" not found`, { name, ...RESOURCE });

export const pathNotFound = () =>
  new StatusError(404, 'NotFound', 'the server could not find the requested resource', {});

export const namespaceNotFound = (name: string) =>
  new StatusError(404, 'NotFound', `namespaces "${name}" not found`, { name, kind: 'namespaces' });

export const alreadyExists = (name: string) =>
  new StatusError(409, 'AlreadyExists', `${QUALIFIED} "${name}" already exists`, { name, ...RESOURCE });

export const conflict = (name: string, why = MODIFIED) =>
  new StatusError(409, 'Conflict', `Operation cannot be fulfilled on ${QUALIFIED} "${name}": ${why}`, {
    name,
    ...RESOURCE,
  });
const MODIFIED = 'the object has been modified; please apply your changes to the latest version and try again';

/** A deletion whose preconditions do not hold. */
export const preconditionFailed = (name: string, what: string, wanted: string, is: string) =>
  new StatusError(
    409,
    'Conflict',
    `Operation cannot be fulfilled on CertificateRequest.${RESOURCE.group} "${name}": the ${what} in the precondition (${wanted}) does not match the ${what} in record (${is}). The object might have been ${what === 'UID' ? 'deleted and then recreated' : 'modified'}`,
    { name, group: RESOURCE.group, kind: 'CertificateRequest' },
  );

export const badRequest = (message: string) => new StatusError(400, 'BadRequest', message);

export const methodNotAllowed = () =>
  new StatusError(405, 'MethodNotAllowed', 'the server does not allow this method on the requested resource', {});

export const unsupportedMediaType = () =>
  new StatusError(
    415,
    'UnsupportedMediaType',
    'the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml',
  );

export const tooOld = (version: number, oldest: number) =>
  new StatusError(410, 'Expired', `too old resource version: ${version} (${oldest})`);

export const continueExpired = () =>
  new StatusError(
    410,
    'Expired',
    'The provided continue parameter is too old to display a consistent list result. You must start a new list without the continue parameter.',
  );

export const versionTooLarge = (version: number, current: number) =>
  new StatusError(504, 'Timeout', `Too large resource version: ${version}, current: ${current}`, {
    causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
    retryAfterSeconds: 1,
  });

export function invalid(name: string, causes: readonly Cause[]): StatusError {
  const lines = causes.map(({ field, message }) => `${field}: ${message}`);
  const told = lines.length === 1 ? lines[0] : `[${lines.join(', ')}]`;
  return new StatusError(422, 'Invalid', `CertificateRequest.cert-manager.io "${name}" is invalid: ${told}`, {
    name,
    group: RESOURCE.group,
    kind: 'CertificateRequest',
    causes,
  });
}

export const webhookDenied = (message: string) =>
  new StatusError(403, 'Forbidden', `admission webhook "webhook.cert-manager.io" denied the request: ${message}`);

export const webhookFailed = () =>
  new StatusError(
    500,
    'InternalError',
    'Internal error occurred: failed calling webhook "webhook.cert-manager.io": failed to call webhook: Post "https://cert-manager-webhook.cert-manager.svc:443/validate?timeout=30s": context deadline exceeded',
    { causes: [{ message: 'failed calling webhook "webhook.cert-manager.io"' }] },
  );

export const internalError = () =>
  new StatusError(500, 'InternalError', 'Internal error occurred: etcdserver: request timed out', {
    causes: [{ message: 'etcdserver: request timed out' }],
  });

export const unavailable = () =>
  new StatusError(503, 'ServiceUnavailable', 'the server is currently unable to handle the request');
