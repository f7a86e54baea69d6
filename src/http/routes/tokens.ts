import { z } from 'zod';
import { NotFoundError, RequestInvalidError, type Violation } from '../../issuer/errors.ts';
import { parseGoDuration } from '../../mesh/go-duration.ts';
import { checkExistingName } from '../../mesh/names.ts';
import { collectTags } from '../../mesh/tags.ts';
import { type DataplaneTokenRequest, type DataplaneTokens, PROXY_TYPES } from '../../tokens/dataplane-tokens.ts';
import { HttpError } from '../problem.ts';
import { type Reply, type Route, route } from '../route.ts';

export interface TokenRoutesOptions {
  readonly tokens: Pick<DataplaneTokens, 'generate'>;
}

/** The largest set of tags in its longest form. */
const MAX_BODY_BYTES = 1024 * 1024;
const DEFAULT_MESH = 'default';
/** Kuma's, for who does not say. */
const DEFAULT_VALID_FOR = '87600h';
const LEAST_VALID_MS = 1000;
const DURATION_FORM = 'a number and a unit of h, m, s, or several, such as 24h30m';

/** Go takes null for empty. */
const word = () =>
  z
    .string()
    .nullish()
    .transform((text) => text ?? '');

/** Unknown fields are ignored, as Kuma ignores them; one that would narrow the token is not. */
const tokenRequest = z.object({
  name: word().describe('Name of the data plane; empty: any'),
  mesh: word().describe('Empty: `default`'),
  tags: z.record(z.string(), z.array(z.string())).nullish(),
  type: word().describe(`One of ${PROXY_TYPES.join(', ')}; empty: data plane`),
  validFor: word().describe(`Go duration: ${DURATION_FORM}; empty: 10 years`),
  workload: z.string().max(0, 'is not supported by mesh-ca: name the data plane or its tags').nullish(),
});
type TokenRequest = z.output<typeof tokenRequest>;

/** Tokens by which proxies prove which data plane they are; Kuma's calls. */
export function tokenRoutes({ tokens }: TokenRoutesOptions): readonly Route[] {
  return [
    route<TokenRequest>({
      method: 'POST',
      path: '/tokens/dataplane',
      summary: 'Make a data plane token',
      tag: 'tokens',
      access: 'admin',
      body: { kind: 'json', schema: tokenRequest, maxBytes: MAX_BODY_BYTES },
      answers: { 200: { description: 'The bare token', content: { 'text/plain': z.string() } } },
      async handle({ body }): Promise<Reply> {
        const token = await tokens.generate(readRequest(body)).catch((error: unknown) => {
          throw error instanceof NotFoundError
            ? new HttpError(404, 'Signing Key not found', error.message, error.fix)
            : error;
        });
        return { status: 200, contentType: 'text/plain', headers: { 'cache-control': 'no-store' }, body: token };
      },
    }),
  ];
}

/** @throws RequestInvalidError with every mistake */
function readRequest({ name, mesh, tags, type, validFor }: TokenRequest): DataplaneTokenRequest {
  const violations: Violation[] = [];
  const meshName = mesh || DEFAULT_MESH;
  violations.push(...checkExistingName(meshName, 'mesh'));
  if (name !== '') violations.push(...checkExistingName(name));
  const checkedTags = collectTags(Object.entries(tags ?? {}), 'tags', violations);
  const proxyType = PROXY_TYPES.find((one) => one === type);
  if (type !== '' && proxyType === undefined) {
    violations.push({ field: 'type', message: `has to be one of ${PROXY_TYPES.join(', ')}` });
  }
  const validForMs = parseGoDuration(validFor || DEFAULT_VALID_FOR);
  if (validForMs === undefined) violations.push({ field: 'validFor', message: `has to be ${DURATION_FORM}` });
  else if (validForMs < LEAST_VALID_MS) violations.push({ field: 'validFor', message: 'has to be 1s or more' });
  if (violations.length > 0 || validForMs === undefined) {
    throw new RequestInvalidError('the request is not valid', {
      violations,
      fix: 'mesh-ca generate dataplane-token --help tells what a token may say',
    });
  }
  return {
    mesh: meshName,
    name,
    tags: Object.fromEntries(checkedTags),
    validForMs,
    ...(proxyType === undefined ? {} : { type: proxyType }),
  };
}
