import { z } from 'zod';
import type { JwtKey } from '../support/make-jwt.ts';
import { type ListeningFake, listen } from './listen.ts';

const review = z.object({ spec: z.object({ token: z.string() }) });
const claims = z.object({
  sub: z.string(),
  aud: z.array(z.string()),
  exp: z.number(),
  'kubernetes.io': z.object({ serviceaccount: z.object({ uid: z.string() }) }),
});

/** The claims of a projected token of a service account. */
export function serviceAccountClaims(name: string, expiresInSeconds = 600): object {
  const nowSeconds = Math.floor(Date.now() / 1000);
  const namespace = 'kong-mesh-system';
  return {
    ...{ iss: 'https://kubernetes.default.svc', sub: `system:serviceaccount:${namespace}:${name}` },
    ...{ aud: ['https://kubernetes.default.svc'], iat: nowSeconds, exp: nowSeconds + expiresInSeconds },
    'kubernetes.io': { namespace, serviceaccount: { name, uid: `uid-of-${name}` } },
  };
}

/** A kube-apiserver as far as Vault's kubernetes auth method asks it: TokenReview, which really looks at signature and age. */
export async function startTokenReviewer(key: JwtKey): Promise<ListeningFake> {
  return listen(({ method, url, body }) => {
    if (method !== 'POST' || url !== '/apis/authentication.k8s.io/v1/tokenreviews') return { status: 404 };
    const { spec } = review.parse(JSON.parse(body.toString('utf8')));
    const status = reviewToken(spec.token, key);
    const answer = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', metadata: {}, spec, status };
    return { status: 201, headers: { 'content-type': 'application/json' }, body: JSON.stringify(answer) };
  });
}

function reviewToken(token: string, key: JwtKey): object {
  const payload = claims.safeParse(JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8')));
  const isGood = payload.success && key.verify(token) && payload.data.exp * 1000 > Date.now();
  if (!isGood) return { authenticated: false, error: 'invalid bearer token' };
  const { sub, aud, 'kubernetes.io': kubernetes } = payload.data;
  const user = { username: sub, uid: kubernetes.serviceaccount.uid, groups: ['system:serviceaccounts'] };
  return { authenticated: true, user, audiences: aud };
}
