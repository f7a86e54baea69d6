import { X509Certificate } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fingerprintSha256, parseCertificate, verifyCertificateSignature } from '../../src/x509/certificate.ts';
import { TAG } from '../../src/x509/der-reader.ts';
import { der, oid, sequence, smallInteger } from '../../src/x509/der-writer.ts';
import { extension } from '../../src/x509/extensions.ts';
import { formatName } from '../../src/x509/name.ts';
import { decodePem, encodePem } from '../../src/x509/pem.ts';
import { X509Error } from '../../src/x509/x509-error.ts';
import { openssl } from './openssl.ts';
import { buildCertificate, buildLeaf } from './test-certificate.ts';
import { freshTestKey, type TestKeyType, testKey } from './test-keys.ts';

/** A self-signed certificate made by the openssl program. */
function opensslCertificate(subject: string, extensions: readonly string[], ...args: readonly string[]): Buffer {
  const config = ['[req]', 'distinguished_name = dn', '[dn]'].join('\n');
  const added = extensions.flatMap((text) => ['-addext', text]);
  const pem = openssl(
    [
      'req',
      '-x509',
      '-config',
      'req.cnf',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-keyout',
      'key.pem',
      '-subj',
      subject,
      '-days',
      '30',
      ...added,
      ...args,
    ],
    { 'req.cnf': config },
  );
  return decodePem(pem)[0]?.der ?? Buffer.alloc(0);
}

describe('a certificate made by openssl', () => {
  const made = () =>
    opensslCertificate(
      '/C=DE/O=Some, "Company" Inc/OU=a\\+b/CN=wéb',
      [
        'subjectAltName=URI:spiffe://default/web,DNS:web.mesh,IP:10.0.0.1',
        'keyUsage=critical,digitalSignature,keyAgreement,decipherOnly',
        'extendedKeyUsage=serverAuth,clientAuth,1.2.3.4',
        'basicConstraints=critical,CA:TRUE,pathlen:3',
        'subjectKeyIdentifier=hash',
        'authorityKeyIdentifier=keyid:always',
        'certificatePolicies=1.2.3.4.5',
        '1.2.3.4.6=critical,ASN1:NULL',
      ],
      '-set_serial',
      '0x00ff01',
      '-utf8',
    );

  it('is read as openssl and node read it', () => {
    const certificate = parseCertificate(made());
    const judge = new X509Certificate(certificate.der);
    expect(certificate).toMatchObject({
      serialNumber: 'ff01',
      commonName: 'wéb',
      subject: 'CN=wéb,OU=a\\+b,O=Some\\, \\"Company\\" Inc,C=DE',
      uriSans: ['spiffe://default/web'],
      dnsNames: ['web.mesh'],
      otherSanCount: 1,
      sanCritical: false,
      basicConstraints: { ca: true, pathLength: 3 },
      keyUsage: new Set(['digitalSignature', 'keyAgreement', 'decipherOnly']),
      extendedKeyUsage: ['serverAuth', 'clientAuth', '1.2.3.4'],
      isSelfIssued: true,
      unhandledCriticalExtensions: ['1.2.3.4.6'],
    });
    expect(certificate.issuer).toBe(certificate.subject);
    expect(certificate.serialNumber.toUpperCase()).toBe(judge.serialNumber);
    expect(certificate.notBefore).toEqual(new Date(judge.validFrom));
    expect(certificate.notAfter).toEqual(new Date(judge.validTo));
    expect(fingerprintSha256(certificate.der)).toBe(judge.fingerprint256.replaceAll(':', '').toLowerCase());
    expect(certificate.publicKey?.keyObject().equals(judge.publicKey)).toBe(true);
    expect(verifyCertificateSignature(certificate, certificate)).toBe(true);
    expect(certificate.subjectKeyId?.equals(certificate.authorityKeyId ?? Buffer.alloc(0))).toBe(true);

    const nameOfOpenssl = openssl(['x509', '-noout', '-subject', '-nameopt', 'RFC2253,-esc_msb,utf8', '-in', 'c.pem'], {
      'c.pem': encodePem('CERTIFICATE', certificate.der),
    });
    expect(nameOfOpenssl.trim()).toBe(`subject=${certificate.subject}`);
  });

  it('may have the serial number 0 that Kuma gives its own roots', () => {
    const root = parseCertificate(
      opensslCertificate('/O=Kuma/OU=Mesh/CN=default', ['subjectAltName=URI:spiffe://default'], '-set_serial', '0'),
    );
    expect(root).toMatchObject({
      serialNumber: '00',
      subject: 'CN=default,OU=Mesh,O=Kuma',
      uriSans: ['spiffe://default'],
    });
  });

  it('may have a negative serial number and an empty subject', () => {
    const odd = parseCertificate(opensslCertificate('/', ['subjectAltName=critical,DNS:a'], '-set_serial', '-2'));
    expect(odd).toMatchObject({ serialNumber: 'fe', subject: '', commonName: '', sanCritical: true });
  });

  it('signed with SHA-1 is read, but its signature does not count', () => {
    const old = parseCertificate(opensslCertificate('/CN=old', [], '-sha1'));
    expect(old.commonName).toBe('old');
    expect(verifyCertificateSignature(old, old)).toBe(false);
  });
});

describe('the signature of a certificate', () => {
  it.each<TestKeyType>(['EC-P256', 'EC-P384', 'EC-P521', 'RSA-2048', 'RSA-1024', 'RSA-PSS', 'Ed25519'])(
    'by a key of type %s is verified, and not with another key',
    (type) => {
      const issuer = buildCertificate({ key: testKey(type), commonName: 'issuer' });
      const leaf = buildLeaf({ key: testKey('EC-P256'), commonName: 'leaf', issuer });
      expect(verifyCertificateSignature(leaf.certificate, issuer.certificate)).toBe(true);
      expect(new X509Certificate(leaf.certificate.der).verify(issuer.certificate.keyObject())).toBe(true);
      const namesake = buildCertificate({ key: freshTestKey(type), commonName: 'issuer' });
      expect(verifyCertificateSignature(leaf.certificate, namesake.certificate)).toBe(false);
      const otherKind = buildCertificate({
        key: testKey(type === 'Ed25519' ? 'EC-P256' : 'Ed25519'),
        commonName: 'issuer',
      });
      expect(verifyCertificateSignature(leaf.certificate, otherKind.certificate)).toBe(false);
    },
  );

  it.each<[TestKeyType, string | undefined]>([
    ['EC-P256', 'EC-P256'],
    ['RSA-2048', 'RSA-2048'],
    ['EC-P521', undefined],
    ['RSA-1024', undefined],
    ['RSA-PSS', undefined],
    ['Ed25519', undefined],
  ])('comes with a public key of type %s, which as a leaf key is %s', (type, leafType) => {
    const { certificate } = buildCertificate({ key: testKey(type), commonName: 'any' });
    expect(certificate.publicKey?.type).toBe(leafType);
    expect(certificate.keyObject().export({ type: 'spki', format: 'der' }).equals(testKey(type).spkiDer)).toBe(true);
  });
});

describe('the reader of certificates', () => {
  const { certificate: good } = buildLeaf({
    key: testKey('EC-P256'),
    commonName: 'web',
    uriSans: ['spiffe://default/web'],
  });

  it('answers random bytes with an X509Error, never with anything else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
        expect(() => parseCertificate(Buffer.from(bytes))).toThrow(X509Error);
      }),
      { numRuns: 2000 },
    );
  });

  it('never lets a changed certificate verify', () => {
    const issuer = good;
    fc.assert(
      fc.property(fc.nat({ max: good.der.length - 1 }), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const mutated = Buffer.from(good.der);
        mutated.writeUInt8(mutated.readUInt8(at) ^ change, at);
        let verified = false;
        try {
          verified = verifyCertificateSignature(parseCertificate(mutated), issuer);
        } catch (error) {
          expect(error).toBeInstanceOf(X509Error);
        }
        expect(verified).toBe(false);
      }),
      { numRuns: 1500 },
    );
  });

  const [tbs, rest] = [good.signedPart, good.der.subarray(good.der.length - good.signature.length - 3)];
  const replaced = (from: string, to: string): Buffer => {
    const changed = Buffer.from(
      tbs
        .toString('latin1')
        .replace(Buffer.from(from, 'hex').toString('latin1'), Buffer.from(to, 'hex').toString('latin1')),
      'latin1',
    );
    return sequence(changed, good.signatureAlgorithmDer, rest);
  };

  it.each<[string, () => Buffer, string]>([
    ['a trailing byte', () => Buffer.concat([good.der, Buffer.of(0)]), 'trailing-bytes'],
    ['version 4', () => replaced('a003020102', 'a003020103'), 'certificate-version'],
    ['version 1 spelled out', () => replaced('a003020102', 'a003020100'), 'certificate-version'],
    ['extensions in version 2', () => replaced('a003020102', 'a003020101'), 'trailing-bytes'],
    ['two signature algorithms', () => sequence(tbs, sequence(oid('ecdsaWithSha384')), rest), 'signature-algorithm'],
    [
      'a month 13',
      () => replaced(Buffer.from('260101').toString('hex'), Buffer.from('261301').toString('hex')),
      'time',
    ],
    [
      'a 31 February',
      () => replaced(Buffer.from('260101').toString('hex'), Buffer.from('260231').toString('hex')),
      'time',
    ],
    [
      'a time without Z',
      () => replaced(Buffer.from('000000Z').toString('hex'), Buffer.from('000000+').toString('hex')),
      'time',
    ],
    ['a time of another type', () => replaced('170d', '130d'), 'time'],
    [
      'CA FALSE spelled out as 0x01',
      () =>
        buildLeaf({
          key: testKey('EC-P256'),
          commonName: 'x',
          constraints: null,
          moreExtensions: [extension('basicConstraints', true, sequence(Buffer.of(1, 1, 1)))],
        }).certificate.der,
      'boolean',
    ],
    [
      'the same extension twice',
      () =>
        buildLeaf({
          key: testKey('EC-P256'),
          commonName: 'x',
          moreExtensions: [extension('basicConstraints', true, sequence())],
        }).certificate.der,
      'duplicate-extension',
    ],
    [
      'a NUL in its SAN',
      () =>
        buildLeaf({
          key: testKey('EC-P256'),
          commonName: 'x',
          moreExtensions: [extension('subjectAltName', false, sequence(der(0x86, Buffer.from('a\0b'))))],
        }).certificate.der,
      'san-characters',
    ],
    ['more than 64 KiB', () => Buffer.alloc(65 * 1024, 0x30), 'certificate-size'],
  ])('refuses %s', (_, build, rule) => {
    expect(() => parseCertificate(build())).toThrow(expect.objectContaining({ name: 'X509Error', rule }));
  });
});

describe('the text of a name', () => {
  const attribute = (tag: number, value: Buffer) => [
    [{ type: Buffer.from([0x55, 4, 3]).toString('latin1'), tag, value }],
  ];

  it.each<[string, ReturnType<typeof attribute>, string]>([
    ['escapes control characters', attribute(TAG.utf8String, Buffer.from('a\u001b[31m\nb\0')), 'CN=a\\1b[31m\\0ab\\00'],
    [
      'escapes characters that turn the writing direction',
      attribute(TAG.utf8String, Buffer.from('a\u202eb')),
      'CN=a\\e2\\80\\aeb',
    ],
    ['escapes blanks at both ends and a leading #', attribute(TAG.utf8String, Buffer.from(' a ')), 'CN=\\ a\\ '],
    ['reads BMPString', attribute(TAG.bmpString, Buffer.from([0, 0x77, 0, 0xe9])), 'CN=wé'],
    ['reads TeletexString as latin1', attribute(TAG.teletexString, Buffer.from([0x77, 0xe9])), 'CN=wé'],
    [
      'shows attributes without a short name as DER',
      [[{ type: Buffer.from([0x2a, 3]).toString('latin1'), tag: TAG.integer, value: smallInteger(5).subarray(2) }]],
      '1.2.3=#020105',
    ],
    [
      'joins attributes of one part with +',
      [
        [
          ...(attribute(TAG.utf8String, Buffer.from('a'))[0] ?? []),
          ...(attribute(TAG.utf8String, Buffer.from('b'))[0] ?? []),
        ],
      ],
      'CN=a+CN=b',
    ],
  ])('%s', (_, names, text) => {
    expect(formatName(names)).toBe(text);
  });
});
