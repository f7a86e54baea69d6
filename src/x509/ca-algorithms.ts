import { hash } from 'node:crypto';
import type { Certificate } from './certificate.ts';
import { DerReader, TAG } from './der-reader.ts';
import { formatOid } from './oids.ts';
import { findSignatureAlgorithm } from './signature-algorithm.ts';
import { X509Error } from './x509-error.ts';

interface CaKeyKind {
  /** AlgorithmIdentifier of the SubjectPublicKeyInfo, its object identifier. */
  readonly oid: string;
  readonly accepted: string;
  readonly command: string;
  /**
   * Which key of this algorithm it is, when it is one that is refused.
   * @param parameters stands behind the object identifier of the algorithm
   * @throws X509Error for a key that is not in DER
   */
  refused(parameters: DerReader, key: Buffer): string | undefined;
}

const EC: CaKeyKind = {
  oid: '1.2.840.10045.2.1',
  accepted: 'EC on the named curves P-256, P-384 and P-521',
  command: 'openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:named_curve',
  refused: refusedEcKey,
};

const RSA_BITS = { least: 2048, most: 8192 };

const RSA: CaKeyKind = {
  oid: '1.2.840.113549.1.1.1',
  accepted: `RSA (rsaEncryption) of ${RSA_BITS.least} to ${RSA_BITS.most} bits`,
  command: `openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:${RSA_BITS.least}`,
  refused: refusedRsaKey,
};

const ED25519: CaKeyKind = {
  oid: '1.3.101.112',
  accepted: 'Ed25519',
  command: 'openssl genpkey -algorithm ED25519',
  refused: (parameters) => (parameters.atEnd ? undefined : 'an Ed25519 key with parameters'),
};

/**
 * THE table of CA keys: what OpenSSL at its default security level, Go and BoringSSL (Envoy) all take in a chain. Go has no Ed448 and no
 * RSA-PSS keys, and ends RSA at 8192 bits; OpenSSL wants RSA from 2048 bits on; none of them takes explicit curve parameters (RFC 5480,
 * 2.1.1). Go knows neither secp256k1 nor Brainpool.
 */
const CA_KEYS: readonly CaKeyKind[] = [EC, RSA, ED25519];
const ACCEPTED = CA_KEYS.map(({ accepted }) => accepted).join('; ');

/** Other keys that OpenSSL makes, and which of the table to make instead. */
const OTHER_KEYS: ReadonlyMap<string, readonly [name: string, instead: CaKeyKind]> = new Map([
  ['1.2.840.113549.1.1.10', ['an RSA-PSS key', RSA]],
  ['1.3.101.113', ['an Ed448 key', ED25519]],
  ['1.2.840.10040.4.1', ['a DSA key', EC]],
]);

const CURVES: ReadonlyMap<string, { readonly name: string; readonly coordinateBytes: number }> = new Map([
  ['1.2.840.10045.3.1.7', { name: 'P-256', coordinateBytes: 32 }],
  ['1.3.132.0.34', { name: 'P-384', coordinateBytes: 48 }],
  ['1.3.132.0.35', { name: 'P-521', coordinateBytes: 66 }],
]);

const OTHER_CURVES: ReadonlyMap<string, string> = new Map([
  ['1.2.840.10045.3.1.1', 'P-192'],
  ['1.3.132.0.33', 'P-224'],
  ['1.3.132.0.10', 'secp256k1'],
  ['1.3.36.3.3.2.8.1.1.7', 'brainpoolP256r1'],
  ['1.3.36.3.3.2.8.1.1.11', 'brainpoolP384r1'],
  ['1.3.36.3.3.2.8.1.1.13', 'brainpoolP512r1'],
]);

/** Why proxies may refuse the key of this CA certificate, what they accept, and how to make that. Undefined: the key is good. */
export function caKeyFault({ spkiDer }: Certificate): string | undefined {
  const fault = refusedCaKey(spkiDer);
  if (fault === undefined) return undefined;
  const { what, instead } = fault;
  return `has ${what}, which not every proxy takes (accepted: ${ACCEPTED}): make a new CA with a key of "${instead.command}"`;
}

/** A key that not every proxy takes, and what to make instead. Undefined: the key is good. */
export function refusedCaKey(
  spkiDer: Buffer,
): { readonly what: string; readonly instead: { readonly accepted: string; readonly command: string } } | undefined {
  let instead = EC;
  try {
    const spki = new DerReader(spkiDer, 'the public key').expect(TAG.sequence).inside();
    const algorithm = spki.expect(TAG.sequence).inside();
    const oid = formatOid(algorithm.oid());
    const kind = CA_KEYS.find((row) => row.oid === oid);
    if (kind === undefined) {
      const [what, other] = OTHER_KEYS.get(oid) ?? [`a key of the type ${oid}`, EC];
      return { what, instead: other };
    }
    instead = kind;
    const what = kind.refused(algorithm, spki.wholeBitString());
    return what === undefined ? undefined : { what, instead };
  } catch (error) {
    if (!(error instanceof X509Error)) throw error;
    return { what: `a key that cannot be read (${error.message})`, instead };
  }
}

const UNCOMPRESSED = 4;

function refusedEcKey(parameters: DerReader, point: Buffer): string | undefined {
  if (parameters.nextTag !== TAG.oid) return 'an EC key with explicit curve parameters instead of a named curve';
  const oid = formatOid(parameters.oid());
  const curve = CURVES.get(oid);
  if (curve === undefined) return `an EC key on the curve ${OTHER_CURVES.get(oid) ?? oid}`;
  // Go reads no other form.
  if (point[0] !== UNCOMPRESSED || point.length !== 1 + 2 * curve.coordinateBytes) {
    return `an EC ${curve.name} key with a compressed point`;
  }
  return undefined;
}

function refusedRsaKey(parameters: DerReader, key: Buffer): string | undefined {
  if (parameters.nextTag !== TAG.null) return 'an RSA key without the NULL parameters of RFC 3279';
  const numbers = new DerReader(key, 'the RSA public key').expect(TAG.sequence).inside();
  const bits = bitLength(numbers.integer());
  if (bits < RSA_BITS.least || bits > RSA_BITS.most) return `an RSA key of ${bits} bits`;
  const exponent = numbers.integer();
  // Go: at most 2^31 - 1.
  if (bitLength(exponent) > 31) return `an RSA key with an exponent of ${bitLength(exponent)} bits`;
  return undefined;
}

function bitLength(integer: Buffer): number {
  return BigInt(`0x${integer.toString('hex')}`).toString(2).length;
}

const ODD_PSS = 'RSA-PSS with other parameters than one SHA-2 hash and a salt of its length';

/** Signatures that certificates had once, or have elsewhere. */
const OTHER_SIGNATURES: ReadonlyMap<string, string> = new Map([
  ['1.2.840.113549.1.1.2', 'MD2 with RSA'],
  ['1.2.840.113549.1.1.3', 'MD4 with RSA'],
  ['1.2.840.113549.1.1.4', 'MD5 with RSA'],
  ['1.2.840.113549.1.1.5', 'SHA-1 with RSA'],
  ['1.3.14.3.2.29', 'SHA-1 with RSA'],
  ['1.2.840.113549.1.1.14', 'SHA-224 with RSA'],
  ['1.2.840.113549.1.1.10', ODD_PSS],
  ['1.2.840.10045.4.1', 'ECDSA with SHA-1'],
  ['1.2.840.10045.4.3.1', 'ECDSA with SHA-224'],
  ['1.2.840.10040.4.3', 'DSA with SHA-1'],
  ['2.16.840.1.101.3.4.3.2', 'DSA with SHA-256'],
]);

/**
 * Why proxies refuse the signature that this certificate bears, whoever made it. Undefined: it is of a good kind. Not to be asked of a
 * root, whose signature nobody verifies.
 */
export function caSignatureFault({ signatureAlgorithmDer }: Certificate): string | undefined {
  const what = refusedSignature(signatureAlgorithmDer);
  if (what === undefined) return undefined;
  return `is signed by ${what}, which proxies refuse (accepted: SHA-256, SHA-384, SHA-512): let its issuer sign it again, with "openssl x509 -req -sha256"`;
}

/** How a certificate is signed that proxies refuse for it. Undefined: it is of a good kind. @param identifier the AlgorithmIdentifier, DER */
export function refusedSignature(identifier: Buffer): string | undefined {
  try {
    const algorithm = findSignatureAlgorithm(identifier);
    if (algorithm === undefined) {
      const oid = formatOid(new DerReader(identifier, 'the signature algorithm').expect(TAG.sequence).inside().oid());
      return OTHER_SIGNATURES.get(oid) ?? `the algorithm ${oid}`;
    }
    const { hash: name, pssSaltLength } = algorithm;
    // Go and BoringSSL: as long as the hash, nothing else.
    if (name === null || pssSaltLength === undefined || pssSaltLength === hash(name, '', 'buffer').length) {
      return undefined;
    }
    return ODD_PSS;
  } catch (error) {
    if (!(error instanceof X509Error)) throw error;
    return `an algorithm that cannot be read (${error.message})`;
  }
}
