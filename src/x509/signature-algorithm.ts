import {
  type AsymmetricKeyDetails,
  constants,
  type KeyObject,
  type SignKeyObjectInput,
  sign,
  verify,
} from 'node:crypto';
import { context, DerReader, TAG } from './der-reader.ts';
import { derNull, explicit, oid, sequence, smallInteger } from './der-writer.ts';
import { type OidName, oidName } from './oids.ts';
import { X509Error } from './x509-error.ts';

type KeyFamily = 'ec' | 'rsa' | 'rsa-pss' | 'ed25519' | 'ed448';
type Hash = 'sha256' | 'sha384' | 'sha512';

/** One way to sign, complete: an AlgorithmIdentifier and what node:crypto must be told. */
export interface SignatureAlgorithm {
  readonly name: string;
  /** `asymmetricKeyType` values of the keys that it fits. */
  readonly families: readonly KeyFamily[];
  /** Null where the algorithm hashes by itself. */
  readonly hash: Hash | null;
  /** DER of the AlgorithmIdentifier that we write. */
  readonly identifier: Buffer;
  /** May a request be signed with it? Leaf keys are EC or RSA, and RSASSA-PSS is left out on purpose: backends differ in taking it. */
  readonly allowedInCsr: boolean;
  /** Set for RSASSA-PSS only. */
  readonly pssSaltLength?: number;
}

const withoutParameters = (name: OidName): Buffer => sequence(oid(name));
const withNull = (name: OidName): Buffer => sequence(oid(name), derNull());

/** THE table of signature algorithms. What is not here is refused: SHA-1 and MD5 above all. */
const SIGNATURE_ALGORITHMS: readonly SignatureAlgorithm[] = [
  {
    name: 'ECDSA-SHA256',
    families: ['ec'],
    hash: 'sha256',
    allowedInCsr: true,
    identifier: withoutParameters('ecdsaWithSha256'),
  },
  {
    name: 'ECDSA-SHA384',
    families: ['ec'],
    hash: 'sha384',
    allowedInCsr: true,
    identifier: withoutParameters('ecdsaWithSha384'),
  },
  {
    name: 'ECDSA-SHA512',
    families: ['ec'],
    hash: 'sha512',
    allowedInCsr: true,
    identifier: withoutParameters('ecdsaWithSha512'),
  },
  { name: 'RSA-SHA256', families: ['rsa'], hash: 'sha256', allowedInCsr: true, identifier: withNull('sha256WithRsa') },
  { name: 'RSA-SHA384', families: ['rsa'], hash: 'sha384', allowedInCsr: true, identifier: withNull('sha384WithRsa') },
  { name: 'RSA-SHA512', families: ['rsa'], hash: 'sha512', allowedInCsr: true, identifier: withNull('sha512WithRsa') },
  { name: 'Ed25519', families: ['ed25519'], hash: null, allowedInCsr: false, identifier: withoutParameters('ed25519') },
  { name: 'Ed448', families: ['ed448'], hash: null, allowedInCsr: false, identifier: withoutParameters('ed448') },
];

/** Whole AlgorithmIdentifier as latin1 -> row. RFC 4055 section 5 wants RSA's NULL also accepted when it is absent. */
const byIdentifier = new Map<string, SignatureAlgorithm>(
  SIGNATURE_ALGORITHMS.flatMap((row) => {
    const written = row.identifier.toString('latin1');
    const inner = new DerReader(row.identifier, row.name).expect(TAG.sequence).inside();
    const bare = sequence(inner.expect(TAG.oid).element()).toString('latin1');
    return [
      [written, row],
      [bare, row],
    ] as const;
  }),
);

/** The algorithm of an AlgorithmIdentifier in DER; undefined when it is not one that we take. */
export function findSignatureAlgorithm(identifier: Buffer): SignatureAlgorithm | undefined {
  return byIdentifier.get(identifier.toString('latin1')) ?? findPss(identifier);
}

/**
 * The algorithm that a private key of ours signs with: SHA-256, or a stronger hash where the curve is stronger.
 * @throws X509Error `signing-key` for a key that cannot sign certificates here
 */
export function signatureAlgorithmFor(privateKey: KeyObject): SignatureAlgorithm {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details = {} } = privateKey;
  const found =
    type === 'ec'
      ? SIGNATURE_ALGORITHMS.find((row) => row.name === EC_ALGORITHM_BY_CURVE.get(details.namedCurve ?? ''))
      : SIGNATURE_ALGORITHMS.find((row) => row.families.some((family) => family === type));
  const algorithm = found ?? (type === 'rsa-pss' ? pssAlgorithmFor(details) : undefined);
  if (algorithm === undefined) {
    throw new X509Error('signing-key', `a key of type "${type}" cannot sign certificates here`);
  }
  return algorithm;
}

const EC_ALGORITHM_BY_CURVE: ReadonlyMap<string, string> = new Map([
  ['prime256v1', 'ECDSA-SHA256'],
  ['secp384r1', 'ECDSA-SHA384'],
  ['secp521r1', 'ECDSA-SHA512'],
]);

function algorithmFitsKey(algorithm: SignatureAlgorithm, key: KeyObject): boolean {
  return algorithm.families.some((family) => family === key.asymmetricKeyType);
}

/** False also where OpenSSL refuses to try (an RSA-PSS key that is bound to other parameters). */
export function verifySignature(
  algorithm: SignatureAlgorithm,
  key: KeyObject,
  data: Buffer,
  signature: Buffer,
): boolean {
  if (!algorithmFitsKey(algorithm, key)) return false;
  try {
    return verify(algorithm.hash, data, keyInput(algorithm, key), signature);
  } catch {
    return false;
  }
}

export function signSync(algorithm: SignatureAlgorithm, key: KeyObject, data: Buffer): Buffer {
  return sign(algorithm.hash, data, keyInput(algorithm, key));
}

/** Signs in the thread pool. `data` must not change before the promise is settled. */
export function signInThreadPool(algorithm: SignatureAlgorithm, key: KeyObject, data: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    sign(algorithm.hash, data, keyInput(algorithm, key), (error, signature) =>
      error ? reject(error) : resolve(signature),
    );
  });
}

/** RSA above 2048 bits and the larger curves take over a millisecond; those belong into the thread pool (P-384: 800 us). */
export function signsSlowly(key: KeyObject): boolean {
  const { modulusLength, namedCurve } = key.asymmetricKeyDetails ?? {};
  return (modulusLength ?? 0) > 2048 || (namedCurve !== undefined && namedCurve !== 'prime256v1');
}

function keyInput(algorithm: SignatureAlgorithm, key: KeyObject): KeyObject | SignKeyObjectInput {
  if (algorithm.pssSaltLength === undefined) return key;
  return { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: algorithm.pssSaltLength };
}

const PSS_HASHES = ['sha256', 'sha384', 'sha512'] as const;
const HASH_BYTES: Readonly<Record<Hash, number>> = { sha256: 32, sha384: 48, sha512: 64 };
const MAX_SALT_BYTES = 512;

/** RSASSA-PSS-params (RFC 4055, 3.1): one and the same SHA-2 hash everywhere; the defaults (SHA-1) are refused. */
function findPss(identifier: Buffer): SignatureAlgorithm | undefined {
  const fields = new DerReader(identifier, 'the signature algorithm').expect(TAG.sequence).inside();
  if (oidName(fields.oid()) !== 'rsassaPss' || fields.nextTag !== TAG.sequence) return undefined;
  const parameters = fields.next().inside();
  if (parameters.nextTag !== context(0, 'constructed')) return undefined;
  const hashName = oidName(parameters.next().inside().expect(TAG.sequence).inside().oid());
  const hash = PSS_HASHES.find((candidate) => candidate === hashName);
  if (hash === undefined || parameters.nextTag !== context(1, 'constructed')) return undefined;
  const mask = parameters.next().inside().expect(TAG.sequence).inside();
  if (oidName(mask.oid()) !== 'mgf1' || oidName(mask.expect(TAG.sequence).inside().oid()) !== hash) return undefined;
  if (parameters.nextTag !== context(2, 'constructed')) return undefined;
  const saltLength = parameters.next().inside().smallInteger();
  if (!parameters.atEnd || saltLength > MAX_SALT_BYTES) return undefined;
  return pssAlgorithm(hash, saltLength);
}

/** An RSA-PSS key may be bound to a hash and a least salt length. */
function pssAlgorithmFor(details: AsymmetricKeyDetails): SignatureAlgorithm | undefined {
  const hash = PSS_HASHES.find((candidate) => candidate === (details.hashAlgorithm ?? 'sha256'));
  if (hash === undefined || (details.mgf1HashAlgorithm ?? hash) !== hash) return undefined;
  return pssAlgorithm(hash, Math.max(details.saltLength ?? 0, HASH_BYTES[hash]));
}

function pssAlgorithm(hash: Hash, saltLength: number): SignatureAlgorithm {
  const hashIdentifier = withNull(hash);
  return {
    name: `RSA-PSS-${hash.toUpperCase()}`,
    families: ['rsa', 'rsa-pss'],
    hash,
    allowedInCsr: false,
    identifier: sequence(
      oid('rsassaPss'),
      sequence(
        explicit(0, hashIdentifier),
        explicit(1, sequence(oid('mgf1'), hashIdentifier)),
        explicit(2, smallInteger(saltLength)),
      ),
    ),
    pssSaltLength: saltLength,
  };
}
