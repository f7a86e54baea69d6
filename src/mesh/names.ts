import type { Violation } from '../issuer/errors.ts';

const MAX_NAME = 253;
const MAX_MESH_NAME = 63;

const SUBDOMAIN = /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*$/;
const SUBDOMAIN_MESSAGE =
  "invalid characters. A lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
const LAX = /^[0-9a-z\-_.]*$/;
const LAX_MESSAGE =
  "invalid characters. Valid characters are numbers, lowercase latin letters and '-', '_', '.' symbols.";
const LABEL = /^[a-z](?:[-a-z0-9]*[a-z0-9])?$/;
const LABEL_MESSAGE =
  "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";

/** The name of a new resource of any kind: an RFC 1123 subdomain of at most 253 characters. Kuma's messages. */
export function checkName(name: string, field = 'name'): Violation[] {
  return checkIdentifier(name, field, SUBDOMAIN, SUBDOMAIN_MESSAGE);
}

/** The name of a resource that exists already, and the mesh that a resource names: Kuma's older rule, which allows underscores. */
export function checkExistingName(name: string, field = 'name'): Violation[] {
  return checkIdentifier(name, field, LAX, LAX_MESSAGE);
}

/** What Kuma's mesh manager asks of a new mesh beyond `checkName`. */
export function checkMeshNameLength(name: string): Violation[] {
  return name.length > MAX_MESH_NAME
    ? [{ field: 'name', message: `cannot be longer than ${MAX_MESH_NAME} characters` }]
    : [];
}

/** Kuma's warnings for a mesh's name, given along with the 201: it should be an RFC 1035 label. */
export function meshNameWarnings(name: string): string[] {
  const errors: string[] = [];
  if (name.length > MAX_MESH_NAME) errors.push(`must be no more than ${MAX_MESH_NAME} characters`);
  if (!LABEL.test(name)) errors.push(LABEL_MESSAGE);
  if (errors.length === 0) return [];
  return [
    `Invalid name: '${name}'. It does not conform to the DNS format (RFC 1035). This is deprecated. Errors: ${errors.join('; ')}`,
  ];
}

function checkIdentifier(name: string, field: string, pattern: RegExp, message: string): Violation[] {
  if (name === '') return [{ field, message: 'cannot be empty' }];
  if (name.length > MAX_NAME) return [{ field, message: `value length must less or equal ${MAX_NAME}` }];
  return pattern.test(name) ? [] : [{ field, message }];
}
