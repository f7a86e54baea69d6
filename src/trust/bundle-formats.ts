import type { TrustBundle } from './trust-bundle.ts';

/** Media types of a trust bundle, the first is the default. */
export const BUNDLE_FORMATS = ['application/x-pem-file', 'application/json', 'application/spiffe+json'] as const;
export type BundleFormat = (typeof BUNDLE_FORMATS)[number];

/** Seconds after which a SPIFFE consumer should look again (SPIFFE Trust Domain and Bundle 4.1.2). */
const REFRESH_HINT_SECONDS = 300;

const WRITERS: Readonly<Record<BundleFormat, (bundle: TrustBundle) => string>> = {
  'application/x-pem-file': (bundle) => bundle.pem,
  'application/json': (bundle) => JSON.stringify(bundleJson(bundle)),
  // X509-SVID 6.1: use is x509-svid, no kid, x5c holds exactly one certificate. kty has to be there, whatever the key is.
  'application/spiffe+json': (bundle) =>
    JSON.stringify({
      keys: bundle.roots.map(({ certificate }) => ({
        ...keyOf(certificate),
        use: 'x509-svid',
        x5c: [certificate.der.toString('base64')],
      })),
      spiffe_sequence: bundle.version,
      spiffe_refresh_hint: REFRESH_HINT_SECONDS,
    }),
};

/** Written once for each bundle: ten thousand data planes ask for the same one. */
const written = new WeakMap<TrustBundle, Map<BundleFormat, string>>();

export function writeBundle(bundle: TrustBundle, format: BundleFormat): string {
  const texts = written.get(bundle) ?? new Map<BundleFormat, string>();
  written.set(bundle, texts);
  const text = texts.get(format) ?? WRITERS[format](bundle);
  texts.set(format, text);
  return text;
}

/** The JSON of API.md, section Trust bundle. */
function bundleJson(bundle: TrustBundle) {
  return {
    mesh: bundle.mesh,
    version: String(bundle.version),
    roots: bundle.roots.map(({ backends, certificate, fingerprintSha256, pem }) => ({
      backends,
      subject: certificate.subject,
      serialNumber: certificate.serialNumber,
      fingerprintSha256,
      notBefore: certificate.notBefore.toISOString(),
      notAfter: certificate.notAfter.toISOString(),
      pem,
    })),
  };
}

/** The JWK members of the key (RFC 7517); an unknown key type is left to `x5c` alone. */
function keyOf({ publicKey }: TrustBundle['roots'][number]['certificate']): object {
  return publicKey === undefined ? { kty: 'unknown' } : publicKey.keyObject().export({ format: 'jwk' });
}
