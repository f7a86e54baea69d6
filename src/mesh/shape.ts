import { z } from 'zod';

/** Building blocks for the zod schemas of resources. As in protobuf JSON, `null` means: not set. */
export const optional = <S extends z.ZodType>(schema: S) => schema.nullish().transform((value) => value ?? undefined);

/** A text that is `''` when it is not set, as in protobuf. */
export const text = (maxLength: number) =>
  z
    .string()
    .max(maxLength)
    .nullish()
    .transform((value) => value ?? '');

export const flag = () =>
  z
    .boolean()
    .nullish()
    .transform((value) => value ?? false);

/** An object of which nothing more is asked, kept as it is. */
export const verbatim = () => optional(z.record(z.string(), z.unknown()));

export const labels = () => optional(z.record(z.string(), z.string()));

/** `{a: undefined}` -> `{}`: JSON without what is not set. */
export function withoutUndefined(object: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined));
}

/** A list or text that is empty is not set; protobuf JSON leaves it out. */
export function unlessEmpty<T extends { readonly length: number }>(value: T): T | undefined {
  return value.length === 0 ? undefined : value;
}
