import { CaError } from '../issuer/errors.ts';
import { ResourceError } from '../resources/resource-error.ts';
import type { Log, LogFields } from '../runtime/log.ts';
import type { Random } from '../runtime/random.ts';
import { HttpError, type Problem, problemOf } from './problem.ts';

export interface TellProblemOptions {
  readonly log: Log;
  readonly random: Random;
}

/**
 * What the outside is told about an error. What is unexpected goes to the log, under the very id that the caller gets; so does what is our
 * or a backend's fault.
 */
export function tellProblem(error: unknown, about: LogFields, { log, random }: TellProblemOptions): Problem {
  const requestId = random.bytes(8).toString('hex');
  const problem = problemOf(error, requestId);
  const expected = error instanceof CaError || error instanceof ResourceError || error instanceof HttpError;
  if (!expected) log.error({ requestId, ...about, err: error }, 'request failed');
  else if (problem.status >= 500) log.warn({ ...about, code: problem.code, err: error }, 'request failed');
  return problem;
}
