import type { Backends } from '../backends/backends.ts';
import { AccessDeniedError, UnauthenticatedError } from '../issuer/errors.ts';
import type { CallOptions, Tags } from '../issuer/issuer.ts';
import { uriSansOf } from '../mesh/identity.ts';
import { SERVICE_TAG } from '../mesh/tags.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Settings } from '../runtime/settings.ts';
import { plainText } from '../text/plain-text.ts';
import type { DataplaneClaims, DataplaneTokens } from '../tokens/dataplane-tokens.ts';
import type { TrustBundles } from '../trust/trust-bundles.ts';
import { type Certificate, parseCertificate } from '../x509/certificate.ts';
import { buildChain, verifyChain } from '../x509/chain.ts';
import { X509Error } from '../x509/x509-error.ts';
import type { ProxyName } from './proxy-name.ts';

/** What a stream brings along to prove who it is. */
export interface Credentials {
  /** The header `authorization`, as it was sent. */
  readonly authorization: string | undefined;
  /** The client's certificate, then what it sent along; DER. The TLS handshake has proven that it holds the key, and nothing else. */
  readonly certificates: readonly Buffer[];
}

/** What a stream has proven. */
export interface Proof {
  /** It is of this very data plane, not of its service, which may have others. */
  readonly provesName: boolean;
  /**
   * Whether the proxy may have a certificate with these tags.
   * @param source `resource`: the operator wrote them; `proxy`: the proxy itself says so
   * @throws AccessDeniedError
   */
  allow(tags: Tags, source: 'resource' | 'proxy'): void;
  /** @throws UnauthenticatedError when it has run out */
  checkTime(): void;
  /**
   * Looks again at all that can change.
   * @throws UnauthenticatedError when it proves nothing any more
   */
  again(options: CallOptions): Promise<void>;
}

/**
 * @throws UnauthenticatedError: no credentials, or they prove nothing; AccessDeniedError: they are somebody else's
 */
export type Authenticate = (who: ProxyName, credentials: Credentials, options: CallOptions) => Promise<Proof>;

export interface AuthenticateOptions {
  readonly tokens: Pick<DataplaneTokens, 'verify'>;
  readonly bundles: Pick<TrustBundles, 'get' | 'intermediates'>;
  readonly backends: Pick<Backends, 'get'>;
  readonly clock: Clock;
  readonly profile: Settings['certificateProfile'];
}

/** One way for each value of the setting `sdsAuth`. */
export const AUTHENTICATE: Readonly<Record<Settings['sdsAuth'], (options: AuthenticateOptions) => Authenticate>> = {
  none: () => async () => ({ provesName: true, allow() {}, checkTime() {}, async again() {} }),
  token: byToken,
  mtls: byCertificate,
};

const BEARER = /^Bearer +([\x21-\x7e]+)$/i;

function byToken({ tokens, clock }: AuthenticateOptions): Authenticate {
  return async ({ mesh, dataplane }, { authorization }) => {
    const token = BEARER.exec(authorization ?? '')?.[1];
    const fix = `send the metadata "authorization: Bearer TOKEN"; mesh-ca generate dataplane-token -m ${mesh} --name ${dataplane} --valid-for 720h makes a token`;
    if (token === undefined) {
      const what =
        authorization === undefined
          ? 'no data plane token was sent'
          : 'the metadata "authorization" is no bearer token';
      throw new UnauthenticatedError(what, { fix });
    }
    const claims = await tokens.verify(token, mesh);
    checkHolder(claims, dataplane, fix);
    return {
      provesName: claims.name !== undefined,
      allow: (tags, source) => allowByClaims(claims, tags, source, { mesh, dataplane }),
      checkTime() {
        if (clock.now() >= claims.expiresAt)
          throw new UnauthenticatedError('the data plane token has expired', { fix });
      },
      again: async () => void (await tokens.verify(token, mesh)),
    };
  };
}

function checkHolder({ name, type }: DataplaneClaims, dataplane: string, fix: string): void {
  if (name !== undefined && name !== dataplane) {
    throw new AccessDeniedError(`the token is for data plane "${plainText(name, 100)}", not for "${dataplane}"`, {
      fix,
    });
  }
  if (type !== '' && type !== 'dataplane') {
    throw new AccessDeniedError(`the token is for a proxy of type "${plainText(type, 40)}", not for a data plane`, {
      fix,
    });
  }
}

/**
 * Kuma's rule: of each tag that the token names the data plane has at least one value, and only values that the token names. Tags that only the proxy
 * tells must all stand in the token: a token that names none would let it be any service.
 */
function allowByClaims(
  { tags: allowed }: DataplaneClaims,
  tags: Tags,
  source: 'resource' | 'proxy',
  { mesh, dataplane }: ProxyName,
): void {
  const fix = `mesh-ca generate dataplane-token -m ${mesh} --name ${dataplane} --tag ${SERVICE_TAG}=SERVICE --valid-for 720h makes one; or put a Dataplane "${dataplane}" with these tags`;
  const deny = (what: string) => new AccessDeniedError(`data plane "${dataplane}" ${what}`, { fix });
  for (const [tag, values] of allowed) {
    const own = tags.get(tag);
    if (own === undefined) throw deny(`has no tag ${JSON.stringify(plainText(tag, 100))}, which its token asks for`);
    for (const value of own) {
      if (!values.includes(value)) throw deny(`has the tag ${tag}=${value}, which its token does not allow`);
    }
  }
  if (source === 'resource') return;
  for (const [tag, values] of tags) {
    if (!allowed.has(tag)) throw deny(`says that its tag ${tag} is ${values[0] ?? ''}, which its token does not name`);
  }
}

function byCertificate(options: AuthenticateOptions): Authenticate {
  const { clock, profile } = options;
  return async ({ mesh }, { certificates }, call) => {
    const fix = `use a client certificate that mesh-ca made for this mesh, such as that of: mesh-ca issue ${mesh} DATAPLANE --tag ${SERVICE_TAG}=SERVICE --out DIR`;
    const refuse = (why: string, cause?: unknown) =>
      new UnauthenticatedError(`the client certificate ${why}`, { fix, cause });
    if (certificates.length === 0) throw new UnauthenticatedError('no client certificate was sent', { fix });
    const [leaf, ...sent] = readCertificates(certificates, refuse);
    const service = `spiffe://${mesh}/`;
    const proven = new Set(leaf.uriSans);
    const verify = async ({ signal }: CallOptions) => {
      const bundle = await options.bundles.get(mesh, { signal });
      const { backends } = await options.backends.get(mesh);
      const known = [...backends.values()].flatMap((backend) => options.bundles.intermediates(backend));
      const roots = bundle.roots.map((root) => root.certificate);
      const { chain } = buildChain(leaf, [...sent, ...known.map((der) => parseCertificate(der)), ...roots]);
      const verdict = verifyChain({ leaf, chain, roots, at: clock.now() });
      if (!verdict.ok) throw refuse(`is not valid in mesh "${mesh}": ${plainText(verdict.reason, 300)}`);
    };
    await verify(call);
    if (leaf.basicConstraints?.ca === true) throw refuse('is that of a CA');
    const usages = leaf.extendedKeyUsage;
    if (usages !== undefined && !usages.includes('clientAuth') && !usages.includes('anyExtendedKeyUsage'))
      throw refuse('may not be used by clients (extended key usage clientAuth is missing)');
    if (!leaf.uriSans.some((uri) => uri.startsWith(service))) throw refuse(`has no SPIFFE ID of mesh "${mesh}"`);
    return {
      provesName: false,
      allow(tags, source) {
        // What only the proxy tells must be what it has proven in full; where the operator wrote the tags, its services are enough.
        const wanted = uriSansOf(mesh, tags, profile).filter((uri) => source === 'proxy' || uri.startsWith(service));
        const missing = wanted.find((uri) => !proven.has(uri));
        if (missing !== undefined)
          throw new AccessDeniedError(`the client certificate does not prove ${missing}`, { fix });
        // With the profile "spiffe" no certificate carries other tags, and a commonName template may use them.
        const unproven = [...tags.keys()].find((tag) => tag !== SERVICE_TAG);
        if (source === 'proxy' && profile === 'spiffe' && unproven !== undefined)
          throw new AccessDeniedError(`the client certificate does not prove the tag ${unproven}`, {
            fix: 'put the Dataplane with its tags: mesh-ca apply -f DATAPLANE.yaml; or tell its service alone',
          });
      },
      checkTime() {
        if (clock.now() > leaf.notAfter) throw refuse('has expired');
      },
      again: verify,
    };
  };
}

function readCertificates(
  ders: readonly Buffer[],
  refuse: (why: string, cause: unknown) => UnauthenticatedError,
): [Certificate, ...Certificate[]] {
  try {
    const [first, ...rest] = ders.map((der) => parseCertificate(der));
    if (first === undefined) throw new X509Error('certificate-size', 'there is none');
    return [first, ...rest];
  } catch (error) {
    if (!(error instanceof X509Error)) throw error;
    throw refuse(`cannot be read: ${plainText(error.message, 200)}`, error);
  }
}
