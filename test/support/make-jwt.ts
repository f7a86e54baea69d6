import { generateKeyPairSync, type KeyObject, sign, verify } from 'node:crypto';

export interface JwtKey {
  /** SubjectPublicKeyInfo, PEM. */
  readonly publicPem: string;
  /** The compact form (RFC 7515). */
  sign(claims: object): string;
  verify(jwt: string): boolean;
}

/** A key that signs JWTs, and proves them, with nothing of a JWT library. */
export function makeJwtKey(algorithm: 'ES256' | 'RS256'): JwtKey {
  const { privateKey, publicKey } =
    algorithm === 'ES256'
      ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
      : generateKeyPairSync('rsa', { modulusLength: 2048 });
  // RFC 7518 section 3.4: the two numbers side by side, not in DER.
  const options = (key: KeyObject) => ({ key, dsaEncoding: 'ieee-p1363' }) as const;
  return {
    publicPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    sign(claims) {
      const input = `${encode({ alg: algorithm, typ: 'JWT' })}.${encode(claims)}`;
      return `${input}.${sign('sha256', Buffer.from(input), options(privateKey)).toString('base64url')}`;
    },
    verify(jwt) {
      const [header = '', payload = '', signature = ''] = jwt.split('.');
      const input = Buffer.from(`${header}.${payload}`);
      return verify('sha256', input, options(publicKey), Buffer.from(signature, 'base64url'));
    },
  };
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}
