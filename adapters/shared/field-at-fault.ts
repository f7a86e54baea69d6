import type { z } from 'zod';

/** As the fields of our schemas are called. A server may choose keys of its own (labels, paths with rights): those are not repeated. */
const OUR_FIELD = /^[A-Za-z_]{1,32}$/;
const MAX_DEPTH = 8;

/** The first field of an answer that is not as it should be: `data.keys.0`; '' for the whole of it. Holds nothing that the answer says. */
export function fieldAtFault(error: z.ZodError): string {
  const path = error.issues[0]?.path.slice(0, MAX_DEPTH) ?? [];
  return path.map((part) => (typeof part === 'number' || OUR_FIELD.test(String(part)) ? String(part) : '*')).join('.');
}
