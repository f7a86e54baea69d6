import { z } from 'zod';
import { formatSpan } from './time-text.ts';

/** Fields of an answer that tell why a backend was not asked, or does not work. */
export const holdShape = {
  breaker: z.string().optional().catch(undefined),
  cause: z
    .union([z.string(), z.looseObject({ code: z.string(), message: z.string() })])
    .optional()
    .catch(undefined),
  retryAfterSeconds: z.number().optional().catch(undefined),
};
const holdSchema = z.object(holdShape);
export type HoldView = z.output<typeof holdSchema>;

const BREAKERS: ReadonlyMap<string, string> = new Map([
  ['open', 'open: the backend failed for many data planes and is not asked now'],
  ['half-open', 'half-open: one request is trying whether the backend is well again'],
  ['closed', 'closed: only this data plane has to wait, its last request failed'],
]);

/** A line each for breaker, cause and time; none when neither of the first two is told. `known` is what was said before. */
export function holdLines({ breaker, cause, retryAfterSeconds }: HoldView, known = ''): string[] {
  if (breaker === undefined && cause === undefined) return [];
  return [
    ...(breaker === undefined ? [] : [`breaker ${BREAKERS.get(breaker) ?? breaker}`]),
    ...causeLines(cause, known),
    ...(retryAfterSeconds === undefined ? [] : [`asked again in ${formatSpan(retryAfterSeconds)}`]),
  ];
}

function causeLines(cause: HoldView['cause'], known: string): string[] {
  if (cause === undefined) return [];
  const [code, message] = typeof cause === 'string' ? ['', cause] : [cause.code, cause.message];
  const told = message === known ? code : [code, message].filter(Boolean).join(', ');
  return told === '' ? [] : [`cause: ${told}`];
}
