import { z } from 'zod';
import { EXIT, type ExitCode } from './exit-code.ts';

/** One check as the API tells it (API "Validate"); an error answer tells the failed ones, with their backend. */
export const checkSchema = z.looseObject({
  backend: z.string().optional(),
  name: z.string(),
  /** `passed`, `warning`, `failed` or `skipped`. */
  status: z.string(),
  durationMs: z.number().optional(),
  message: z.string(),
  cause: z.string().optional(),
  fix: z.string().optional(),
  /** Of a skipped one: the failed check without which it can tell nothing. */
  dependsOn: z.string().optional(),
});
export type CheckView = z.output<typeof checkSchema>;

const backendSchema = z.looseObject({
  mesh: z.string(),
  backend: z.string(),
  type: z.string(),
  ok: z.boolean(),
  /** All that failed may pass later by itself. */
  retry: z.boolean().optional(),
  durationMs: z.number(),
  checks: z.array(checkSchema),
});
export type BackendView = z.output<typeof backendSchema>;

/** The answer to both calls that validate. What this version does not know stays in it. */
export const validationSchema = z.looseObject({ ok: z.boolean(), backends: z.array(backendSchema) });
export type Validation = z.output<typeof validationSchema>;

/** Several answers as one. */
export function mergeValidations(answers: readonly Validation[]): Validation {
  const [only] = answers;
  if (only !== undefined && answers.length === 1) return only;
  return { ok: answers.every(({ ok }) => ok), backends: answers.flatMap(({ backends }) => backends) };
}

/** `operator` as soon as one backend failed for a reason that stays; `later` when all that failed may pass by itself. */
export function exitCodeOfValidation({ ok, backends }: Validation): ExitCode {
  if (ok) return EXIT.ok;
  const failed = backends.filter((backend) => !backend.ok);
  return failed.length > 0 && failed.every(({ retry }) => retry === true) ? EXIT.later : EXIT.operator;
}
