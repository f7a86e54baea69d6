import type { KeyObject } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { loadCaKeyPair } from '../../src/x509/ca-key-pair.ts';
import { encodePem } from '../../src/x509/pem.ts';
import { buildCertificate } from './test-certificate.ts';
import { freshTestKey, type TestKeyType, testKey } from './test-keys.ts';

const root = buildCertificate({ key: testKey('EC-P384'), commonName: 'root' });
const ca = buildCertificate({ key: testKey('EC-P256'), commonName: 'intermediate', issuer: root });
const certificatePem = (...ders: readonly Buffer[]) => ders.map((der) => encodePem('CERTIFICATE', der)).join('');
const keyPem = (key: KeyObject) => String(key.export({ type: 'pkcs8', format: 'pem' }));

const goodCert = certificatePem(ca.certificate.der, root.certificate.der);
const goodKey = keyPem(ca.key.privateKey);

describe('a CA key pair', () => {
  it('is loaded with its chain in the order of the file', () => {
    const { chain, privateKey } = loadCaKeyPair(goodCert, goodKey);
    expect(chain.map(({ commonName }) => commonName)).toEqual(['intermediate', 'root']);
    expect(privateKey.equals(ca.key.privateKey)).toBe(true);
  });

  it.each<TestKeyType>(['RSA-2048', 'Ed25519', 'EC-P521', 'RSA-PSS'])('may have a key of type %s', (type) => {
    const other = buildCertificate({ key: testKey(type), commonName: 'other' });
    expect(loadCaKeyPair(certificatePem(other.certificate.der), keyPem(other.key.privateKey)).chain).toHaveLength(1);
  });

  it.each<[string, string, string, string, string]>([
    ['both are empty', '', '', 'ca-certificate-pem', 'tls: failed to find any PEM data in certificate input'],
    [
      'the two are switched',
      goodKey,
      goodCert,
      'ca-certificate-pem',
      'tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched',
    ],
    [
      'the certificate file holds something else',
      encodePem('X509 CRL', Buffer.of(1)) + goodKey,
      goodKey,
      'ca-certificate-pem',
      'tls: failed to find "CERTIFICATE" PEM block in certificate input after skipping PEM blocks of the following types: [X509 CRL PRIVATE KEY]',
    ],
    ['there is no key', goodCert, 'rubbish', 'ca-key-pem', 'tls: failed to find any PEM data in key input'],
    [
      'the key file holds the certificate',
      goodCert,
      certificatePem(ca.certificate.der),
      'ca-key-pem',
      'tls: found a certificate rather than a key in the PEM for the private key',
    ],
    [
      'the key file holds a public key',
      goodCert,
      encodePem('PUBLIC KEY', ca.key.spkiDer),
      'ca-key-pem',
      'tls: failed to find PEM block with type ending in "PRIVATE KEY" in key input after skipping PEM blocks of the following types: [PUBLIC KEY]',
    ],
    [
      'the key is of another pair',
      goodCert,
      keyPem(freshTestKey('EC-P256').privateKey),
      'ca-key',
      'tls: private key does not match public key',
    ],
    [
      'the key is of another type',
      goodCert,
      keyPem(testKey('RSA-2048').privateKey),
      'ca-key-type',
      'tls: private key type does not match public key type',
    ],
    [
      'the key cannot be read',
      goodCert,
      encodePem('PRIVATE KEY', Buffer.from('secret bytes')),
      'ca-key-parse',
      'tls: failed to parse private key: the private key is not a proper PKCS8 key',
    ],
    [
      'a certificate cannot be read',
      certificatePem(ca.certificate.der, Buffer.of(0x30, 0x00)),
      goodKey,
      'ca-certificate',
      'x509: malformed certificate: the certificate has its end where tag 0x30 must stand',
    ],
  ])('is refused with the message of Go when %s', (_, cert, key, rule, message) => {
    expect(() => loadCaKeyPair(cert, key)).toThrow(expect.objectContaining({ name: 'X509Error', rule, message }));
  });

  it('tells which certificate of the chain is malformed', () => {
    const cut = root.certificate.der.subarray(0, 40);
    expect(() => loadCaKeyPair(certificatePem(ca.certificate.der, cut), goodKey)).toThrow(
      expect.objectContaining({ index: 1 }),
    );
  });
});
