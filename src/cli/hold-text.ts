import { z } from 'zod';
import { spanText } from '../text/span-text.ts';

/** Fields of an answer that tell why a backend was not asked, or does not work. */
export const holdShape = {
  breaker: z.string().optional().catch(undefined),
  /** The failure of the backend behind it. */
  cause: z.looseObject({ code: z.string(), detail: z.string() }).optional().catch(undefined),
  retryAfterSeconds: z.number().optional().catch(undefined),
};
const holdSchema = z.object(holdShape);
export type HoldView = z.output<typeof holdSchema>;

const BREAKERS: ReadonlyMap<string, string> = new Map([
  ['open', 'open, nobody asks the backend now'],
  ['half-open', 'half-open, one request is trying whether the backend is well again'],
  ['closed', 'closed, the backend as a whole is not held back'],
]);

/** A line each for breaker, cause and time; none when neither of the first two is told. `known` is what was said before. */
export function holdLines({ breaker, cause, retryAfterSeconds }: HoldView, known = ''): string[] {
  if (breaker === undefined && cause === undefined) return [];
  return [
    ...(breaker === undefined ? [] : [`breaker: ${BREAKERS.get(breaker) ?? breaker}`]),
    ...(cause === undefined ? [] : [`cause: ${causeText(cause, known)}`]),
    ...(retryAfterSeconds === undefined ? [] : [`asked again in ${spanText(retryAfterSeconds * 1000)}`]),
  ];
}

/** The code alone when what was said before ends in the rest. */
function causeText({ code, detail }: NonNullable<HoldView['cause']>, known: string): string {
  const said = detail.replace(/^issuer\([^)]*\): /, '');
  return said !== '' && known.endsWith(said) ? code : `${code}, ${detail}`;
}
