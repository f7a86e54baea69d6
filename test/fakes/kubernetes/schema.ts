import { isObject, type JsonObject } from './json.ts';
import type { Cause } from './status.ts';

/** The part of a structural schema (apiextensions v1) that CertificateRequests use. */
interface Schema {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema;
  readonly items?: Schema;
  readonly required?: readonly string[];
  readonly enum?: readonly string[];
  readonly format?: string;
  readonly default?: unknown;
}

/** Not '': a real server refuses that, too. */
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})$/;
const DATE_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/;
const FORMATS: Readonly<Record<string, RegExp>> = { byte: BASE64, 'date-time': DATE_TIME };

/** The value without fields that the schema does not know and with its defaults, as an API server stores it; mistakes go to `causes`. */
export function applySchema(schema: Schema, value: unknown, field: string, causes: Cause[]): unknown {
  const type = typeOf(value);
  if (schema.type !== undefined && type !== schema.type) {
    const message = `Invalid value: ${JSON.stringify(type)}: ${field} in body must be of type ${schema.type}: ${JSON.stringify(type)}`;
    causes.push({ reason: 'FieldValueTypeInvalid', message, field });
    return value;
  }
  if (isObject(value)) return applyToObject(schema, value, field, causes);
  if (Array.isArray(value)) {
    const { items } = schema;
    return items === undefined ? value : value.map((item, i) => applySchema(items, item, `${field}[${i}]`, causes));
  }
  if (schema.enum !== undefined && !schema.enum.includes(String(value))) {
    const supported = schema.enum.map((one) => JSON.stringify(one)).join(', ');
    const message = `Unsupported value: ${JSON.stringify(value)}: supported values: ${supported}`;
    causes.push({ reason: 'FieldValueNotSupported', message, field });
  }
  const format = schema.format === undefined ? undefined : FORMATS[schema.format];
  if (format !== undefined && typeof value === 'string' && !format.test(value)) {
    const told = JSON.stringify(value);
    const message = `Invalid value: ${told}: ${field} in body must be of type ${schema.format}: ${told}`;
    causes.push({ reason: 'FieldValueTypeInvalid', message, field });
  }
  return value;
}

function applyToObject(schema: Schema, value: JsonObject, field: string, causes: Cause[]): JsonObject {
  const at = (key: string) => (field === '' ? key : `${field}.${key}`);
  const known = schema.properties;
  if (known === undefined) {
    const each = schema.additionalProperties;
    if (each === undefined) return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, entry]) => [key, applySchema(each, entry, at(key), causes)]),
    );
  }
  const kept: Record<string, unknown> = {};
  for (const [key, property] of Object.entries(known)) {
    const given = value[key] ?? property.default;
    if (given !== undefined && given !== null) kept[key] = applySchema(property, given, at(key), causes);
    else if (schema.required?.includes(key) === true) {
      causes.push({ reason: 'FieldValueRequired', message: 'Required value', field: at(key) });
    }
  }
  return kept;
}

function typeOf(value: unknown): string {
  if (Array.isArray(value)) return 'array';
  if (value === null) return 'null';
  return typeof value;
}
