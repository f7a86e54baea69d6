import { z } from 'zod';
import { countText } from '../text/count-text.ts';
import { blockerSchema } from './blocker-view.ts';
import { CliError, type CliErrorOptions, describeViolation } from './cli-error.ts';
import { exitCodeOf } from './exit-code.ts';
import { holdLines, holdShape } from './hold-text.ts';
import type { HttpAnswer } from './http-request.ts';
import { type CheckView, checkSchema } from './proof-view.ts';
import { plainText } from './text.ts';

const MAX_TOLD = 100;

const violationSchema = z.object({ field: z.string(), reason: z.string() });
type Told = z.output<typeof violationSchema>;

const problemSchema = z.looseObject({
  title: z.string().optional().catch(undefined),
  detail: z.string().optional().catch(undefined),
  code: z.string().optional().catch(undefined),
  fix: z.string().optional().catch(undefined),
  retry: z.boolean().optional().catch(undefined),
  invalid_parameters: z.array(violationSchema).optional().catch(undefined),
  checks: z.array(checkSchema).optional().catch(undefined),
  blockers: z.array(blockerSchema).optional().catch(undefined),
  blockersTotal: z.number().optional().catch(undefined),
  ...holdShape,
});
type Problem = z.output<typeof problemSchema>;

/** An error answer of mesh-ca. `why` holds what its problem JSON tells, one reason for each field. */
export class ApiError extends CliError {
  readonly status: number;

  constructor(what: string, status: number, options: CliErrorOptions) {
    super(what, options);
    this.name = 'ApiError';
    this.status = status;
  }
}

/** What an answer of 400 and more says. `json` is its body, undefined when it is no JSON. */
export function readProblem({ status, headers, text }: HttpAnswer, json: unknown, origin: string): ApiError {
  const { success, data } = problemSchema.safeParse(json);
  if (!success || (data.title === undefined && data.detail === undefined)) {
    return new ApiError(`HTTP ${status} from ${origin}`, status, {
      exitCode: exitCodeOf(undefined, status),
      why: [plainText(text.slice(0, 300)) || 'the answer is empty'],
      fix: `look whether ${origin} is a mesh-ca: curl ${origin}/`,
    });
  }
  const { title, detail, code, fix, retry, retryAfterSeconds = Number(headers['retry-after']) } = data;
  const checks = (data.checks ?? []).slice(0, MAX_TOLD);
  const fields = (data.invalid_parameters ?? [])
    .slice(0, MAX_TOLD)
    .filter((field) => !checks.some((check) => tellsTheSame(check, field)))
    .map(({ field, reason }) => describeViolation({ field, message: reason }));
  // kumactl's `Title (detail)` before fields; without fields the detail is the reason.
  const hasFields = fields.length > 0 || checks.length > 0;
  const what = hasFields && title && detail ? `${title} (${detail})` : (title ?? detail ?? '');
  const why = hasFields ? fields : title && detail ? [detail] : [];
  const exitCode = exitCodeOf(code, status, retry);
  if (checks.length > 0) {
    return new ApiError(plainText(what), status, {
      exitCode,
      why: [failedBackends(checks), ...why].map(plainText),
      fix: fixOfChecks(retry === true),
      checks: checks.map((check) => withField(check, data)),
    });
  }
  const later = retryAfterSeconds > 0 ? `try again in ${retryAfterSeconds} s` : undefined;
  const { blockers = [], blockersTotal = blockers.length } = data;
  return new ApiError(plainText(what), status, {
    exitCode,
    why: [...why, ...holdLines(data, detail)].map(plainText),
    fix: fix === undefined ? (later ?? defaultFix(status)) : plainText(fix),
    blockers: blockers.length === 0 ? undefined : { first: blockers.slice(0, MAX_TOLD), total: blockersTotal },
  });
}

/** The reason of a field is the message of its check, with its cause. */
function tellsTheSame({ message, cause }: CheckView, { reason }: Told): boolean {
  return reason === message || (cause !== undefined && reason === `${message}: ${cause}`);
}

/** The key to blame stands before what is wrong with it. */
function withField(check: CheckView, { invalid_parameters = [] }: Problem): CheckView {
  const field = invalid_parameters.find((told) => tellsTheSame(check, told))?.field;
  return field === undefined ? check : { ...check, message: `${field}: ${check.message}` };
}

function failedBackends(checks: readonly CheckView[]): string {
  const names = [...new Set(checks.flatMap(({ backend }) => backend ?? []))];
  const count = `${countText(checks.length, 'check')} failed`;
  return names.length === 0 ? count : `no proxy could work with ${names.join(', ')}: ${count}`;
}

const fixOfChecks = (retry: boolean): string =>
  `${retry ? 'wait, or follow the fixes' : 'follow the fixes from the top'}, then run the same command again; to store it all the same: \`skipValidation: true\` below \`mtls\``;

function defaultFix(status: number): string | undefined {
  if (status === 401 || status === 403)
    return 'call from the machine that mesh-ca runs on, or give an admin token: --token-file FILE';
  return undefined;
}
