import type { errors as JoseErrors } from 'jose';
import { z } from 'zod';
import { RequestInvalidError, UnauthenticatedError } from '../issuer/errors.ts';
import { checkExistingName } from '../mesh/names.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Random } from '../runtime/random.ts';
import type { Store } from '../store/store.ts';
import { plainText } from '../text/plain-text.ts';
import { createSigners } from './signing-keys.ts';
import { createVerificationKeyCache, type VerificationKeys } from './verification-keys.ts';

/** Kuma's kinds of proxies. */
export const PROXY_TYPES = ['dataplane', 'ingress', 'egress'] as const;
export type ProxyType = (typeof PROXY_TYPES)[number];

export interface DataplaneTokenRequest {
  readonly mesh: string;
  /** Absent or empty: for every data plane that has the tags. */
  readonly name?: string;
  /** Every value that a data plane may have of each of these tags. */
  readonly tags?: Readonly<Record<string, readonly string[]>>;
  /** Absent: a data plane, without saying so. */
  readonly type?: ProxyType;
  /** From now; at least a second. */
  readonly validForMs: number;
}

/** What a token says that was proven. */
export interface DataplaneClaims {
  readonly mesh: string;
  /** Undefined: any name. */
  readonly name: string | undefined;
  readonly tags: ReadonlyMap<string, readonly string[]>;
  /** Empty means `dataplane`. */
  readonly type: string;
  /** What a revocation names. */
  readonly jti: string;
  readonly expiresAt: Date;
}

/** Data plane tokens, byte-compatible with those of Kuma 2.14: JWT by RS256, signed with a key of the mesh. */
export interface DataplaneTokens {
  /**
   * The first token of a mesh makes the mesh's signing key.
   * @throws NotFoundError: there is no such mesh; ConfigError: its newest signing key is not usable; RequestInvalidError: the token would
   *   be too long to be sent
   */
  generate(request: DataplaneTokenRequest): Promise<string>;
  /**
   * Whether the claims fit the data plane that shows the token is for the caller to judge.
   * @throws UnauthenticatedError, which holds nothing of the token
   */
  verify(token: string, mesh: string): Promise<DataplaneClaims>;
  close(): void;
}

export interface DataplaneTokensOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
}

/** The only one that is made and taken (RFC 8725 section 3.1). */
const ALGORITHM = 'RS256';
/** Longer ones fit into no header, here or at a proxy. */
export const MAX_TOKEN_LENGTH = 16 * 1024;
const LEAST_VALID_MS = 1000;
/** Kuma's: clocks of others may be behind. */
const BACKDATE_MS = 5 * 60 * 1000;
/** How much of a name of a mesh that a proxy sent is told. */
const MAX_TOLD = 80;

/** Loaded with the first token: it would make each start longer. */
const loadJose = () => import('jose');

/** The capitals are Kuma's; Go leaves nothing out, and writes an empty map as `{}` or null. */
const claimsSchema = z.object({
  Name: z.string().nullish(),
  Mesh: z.string(),
  Tags: z.record(z.string(), z.array(z.string())).nullish(),
  Type: z.string().nullish(),
  jti: z.string().min(1),
  // The most that a Date holds.
  exp: z.number().max(8.64e12),
});

export function createDataplaneTokens({ store, clock, random }: DataplaneTokensOptions): DataplaneTokens {
  const signers = createSigners(store);
  const cache = createVerificationKeyCache(store);

  return {
    async generate({ mesh, name = '', tags = {}, type = '', validForMs }) {
      if (!(validForMs >= LEAST_VALID_MS))
        throw new TypeError(`a token is valid for 1 s or more, not ${validForMs} ms`);
      const { kid, privateKey } = await signers.newest(mesh);
      const { SignJWT } = await loadJose();
      const nowMs = clock.now().getTime();
      const token = await new SignJWT({ Name: name, Mesh: mesh, Tags: tags, Type: type })
        .setProtectedHeader({ alg: ALGORITHM, kid, typ: 'JWT' })
        .setJti(uuid(random))
        .setIssuedAt(toSeconds(nowMs))
        .setNotBefore(toSeconds(nowMs - BACKDATE_MS))
        .setExpirationTime(toSeconds(nowMs + validForMs))
        .sign(privateKey);
      if (token.length <= MAX_TOKEN_LENGTH) return token;
      throw new RequestInvalidError(`the token would be longer than ${MAX_TOKEN_LENGTH} characters`, {
        fix: 'name fewer tags and values',
      });
    },

    async verify(token, mesh) {
      const told = plainText(mesh, MAX_TOLD);
      if (token.length > MAX_TOKEN_LENGTH) {
        throw refuse(`the data plane token is longer than ${MAX_TOKEN_LENGTH} characters`, told);
      }
      // Signatures of texts that only decode alike are good, too: one token, one text.
      if (!isCanonical(token)) throw refuse('what was sent is no data plane token', told);
      const known = await cache.get(mesh);
      const claims = await provenClaims(token, known, clock.now(), told);
      if (claims.Mesh !== mesh) throw refuse(`the data plane token is not for mesh "${told}"`, told);
      if (known.revoked.has(claims.jti)) throw refuse('the data plane token is revoked', told);
      return {
        mesh,
        name: claims.Name || undefined,
        tags: new Map(Object.entries(claims.Tags ?? {})),
        type: claims.Type ?? '',
        jti: claims.jti,
        expiresAt: new Date(claims.exp * 1000),
      };
    },

    close: () => cache.close(),
  };
}

/** @throws UnauthenticatedError */
async function provenClaims(
  token: string,
  { keys }: VerificationKeys,
  now: Date,
  mesh: string,
): Promise<z.output<typeof claimsSchema>> {
  const keyOf = ({ kid }: { readonly kid?: unknown }) => {
    if (kid === undefined) throw refuse('the data plane token does not say in "kid" which key signed it', mesh);
    const key = typeof kid === 'string' ? keys.get(kid) : undefined;
    if (key !== undefined) return key;
    throw refuse(`the data plane token is signed by a key that mesh "${mesh}" does not have`, mesh);
  };
  const { errors, jwtVerify } = await loadJose();
  try {
    const { payload } = await jwtVerify(token, keyOf, { algorithms: [ALGORITHM], currentDate: now });
    const claims = claimsSchema.safeParse(payload);
    if (claims.success) return claims.data;
  } catch (error) {
    if (error instanceof UnauthenticatedError) throw error;
    throw refuse(reasonOf(error, errors), mesh);
  }
  throw refuse('it is signed as it should be, but not a data plane token', mesh);
}

/** jose's own messages may quote the token. */
function reasonOf(error: unknown, errors: typeof JoseErrors): string {
  if (error instanceof errors.JWTExpired) return 'the data plane token has expired';
  if (error instanceof errors.JWTClaimValidationFailed && error.claim === 'nbf') {
    return 'the data plane token is not valid yet: a clock is wrong';
  }
  if (error instanceof errors.JOSEAlgNotAllowed) return `the data plane token is not signed by ${ALGORITHM}`;
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'the signature of the data plane token is wrong';
  return 'what was sent is no data plane token';
}

function refuse(message: string, mesh: string): UnauthenticatedError {
  // What a proxy calls its mesh may be anything; what is to be typed may not.
  const typed = checkExistingName(mesh).length === 0 ? mesh : 'MESH';
  return new UnauthenticatedError(message, {
    fix: `make a new one: mesh-ca generate dataplane-token -m ${typed} --name DATAPLANE --valid-for 24h`,
  });
}

/** Three parts in base64url (RFC 7515), each as an encoder writes it. */
function isCanonical(token: string): boolean {
  const parts = token.split('.', 4);
  return parts.length === 3 && parts.every((part) => Buffer.from(part, 'base64url').toString('base64url') === part);
}

const toSeconds = (ms: number) => Math.floor(ms / 1000);

/** RFC 9562, version 4. */
function uuid(random: Random): string {
  const bytes = random.bytes(16);
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x40, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
