import type { Certificate } from '../../src/x509/certificate.ts';

/** Those of AWS's signing algorithms that this adapter asks for. */
export type SigningAlgorithm = 'SHA256WITHECDSA' | 'SHA384WITHECDSA' | 'SHA512WITHECDSA' | 'SHA256WITHRSA';

/** By `KeyAlgorithm` of DescribeCertificateAuthority. The family has to be that of the CA's key. */
const BY_KEY_ALGORITHM: Readonly<Record<string, SigningAlgorithm>> = {
  EC_prime256v1: 'SHA256WITHECDSA',
  EC_secp384r1: 'SHA384WITHECDSA',
  EC_secp521r1: 'SHA512WITHECDSA',
  RSA_2048: 'SHA256WITHRSA',
  RSA_3072: 'SHA256WITHRSA',
  RSA_4096: 'SHA256WITHRSA',
};

/** By curve, for a CA of which only the certificate is known. */
const BY_CURVE: Readonly<Record<string, SigningAlgorithm>> = {
  prime256v1: 'SHA256WITHECDSA',
  secp384r1: 'SHA384WITHECDSA',
  secp521r1: 'SHA512WITHECDSA',
};

/** What is tried, in this order, while nothing is known of the CA's key. A refusal issues nothing. */
export const GUESSES: readonly SigningAlgorithm[] = ['SHA256WITHECDSA', 'SHA256WITHRSA'];

/** Undefined for keys whose signatures proxies do not verify (SM2, ML-DSA). */
export function algorithmOfKeyName(keyAlgorithm: string): SigningAlgorithm | undefined {
  return BY_KEY_ALGORITHM[keyAlgorithm];
}

/** As `algorithmOfKeyName`, from the CA's certificate. */
export function algorithmOfCertificate(ca: Certificate): SigningAlgorithm | undefined {
  const { asymmetricKeyType, asymmetricKeyDetails } = ca.keyObject();
  if (asymmetricKeyType === 'rsa') return 'SHA256WITHRSA';
  return asymmetricKeyType === 'ec' ? BY_CURVE[asymmetricKeyDetails?.namedCurve ?? ''] : undefined;
}
