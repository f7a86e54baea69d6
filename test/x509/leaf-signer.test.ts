import { createPrivateKey, X509Certificate } from 'node:crypto';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { parseCertificate, verifyCertificateSignature } from '../../src/x509/certificate.ts';
import { verifyChain } from '../../src/x509/chain.ts';
import { createLeafSigner, type LeafTemplate } from '../../src/x509/leaf-signer.ts';
import { encodePem } from '../../src/x509/pem.ts';
import { checkLeaf } from '../../src/x509/profile.ts';
import { createRootCertificate } from '../../src/x509/root-certificate.ts';
import { openssl } from './openssl.ts';
import { buildCertificate, NOON, type TestCertificate } from './test-certificate.ts';
import { freshTestKey, type TestKeyType, testKey } from './test-keys.ts';

const LEAF_KEYS = ['EC-P256', 'EC-P384', 'RSA-2048', 'RSA-3072', 'RSA-4096'] as const;
const CA_KEYS: readonly TestKeyType[] = [...LEAF_KEYS, 'EC-P521', 'Ed25519', 'RSA-PSS'];

beforeAll(() => {
  for (const type of CA_KEYS) testKey(type);
}, 120_000);

function testCa(type: TestKeyType = 'EC-P256'): TestCertificate {
  return buildCertificate({ key: testKey(type), commonName: `${type} CA` });
}

function signerOf(ca: TestCertificate) {
  return createLeafSigner({ certificate: ca.certificate, privateKey: ca.key.privateKey });
}

const URIS = ['spiffe://default/web', 'kuma://kuma.io/service/web', 'kuma://version/v1'];

function template(changes: Partial<LeafTemplate> = {}): LeafTemplate {
  return {
    spkiDer: testKey('EC-P256').spkiDer,
    uriSans: URIS,
    dnsNames: [],
    commonName: '',
    notBefore: new Date('2026-05-31T00:00:00Z'),
    notAfter: new Date('2026-06-30T00:00:00Z'),
    serialNumber: Buffer.from('7f0102', 'hex'),
    ...changes,
  };
}

describe('a signed leaf', () => {
  it.each(CA_KEYS)('of a CA with a key of type %s is accepted by openssl for every leaf key type', async (type) => {
    const ca = testCa(type);
    const signer = signerOf(ca);
    const files: Record<string, string> = { 'ca.pem': encodePem('CERTIFICATE', ca.certificate.der) };
    for (const leafType of LEAF_KEYS) {
      const wanted = template({ spkiDer: freshOrShared(leafType) });
      const der = await signer.sign(wanted);
      const leaf = parseCertificate(der);
      expect(leaf.publicKey?.type).toBe(leafType);
      expect(verifyChain({ leaf, chain: [], roots: [ca.certificate], at: NOON })).toEqual({ ok: true });
      expect(checkLeaf(leaf, { ...wanted, profile: 'kuma', at: NOON })).toEqual([]);
      files[`${leafType}.pem`] = encodePem('CERTIFICATE', der);
    }
    const leaves = LEAF_KEYS.map((leafType) => `${leafType}.pem`);
    const said = openssl(
      ['verify', '-x509_strict', '-attime', String(NOON.getTime() / 1000), '-CAfile', 'ca.pem', ...leaves],
      files,
    );
    expect(said.trim().split('\n')).toEqual(leaves.map((file) => `${file}: OK`));
  });

  it('reads in openssl as it was meant', async () => {
    const ca = testCa();
    const der = await signerOf(ca).sign(template({ dnsNames: ['web.mesh'], commonName: 'web.default' }));
    const text = openssl(['x509', '-noout', '-text', '-in', 'leaf.pem'], { 'leaf.pem': encodePem('CERTIFICATE', der) });
    const flat = text.replace(/\s+/g, ' ');
    for (const part of [
      'Version: 3 (0x2)',
      'Serial Number: 8323330 (0x7f0102)',
      'Issuer: CN = EC-P256 CA',
      'Not Before: May 31 00:00:00 2026 GMT Not After : Jun 30 00:00:00 2026 GMT',
      'Subject: CN = web.default',
      'X509v3 Key Usage: critical Digital Signature, Key Encipherment, Key Agreement',
      'X509v3 Extended Key Usage: TLS Web Server Authentication, TLS Web Client Authentication',
      'X509v3 Basic Constraints: critical CA:FALSE',
      `X509v3 Subject Alternative Name: ${URIS.map((uri) => `URI:${uri}`).join(', ')}, DNS:web.mesh`,
    ]) {
      expect(flat).toContain(part);
    }
    const [subjectKeyId, authorityKeyId] = [...flat.matchAll(/Key Identifier: ([0-9A-F:]{59})/g)].map(([, id]) => id);
    expect(authorityKeyId).toBe(colons(ca.certificate.subjectKeyId));
    expect(subjectKeyId).toBe(colons(parseCertificate(der).subjectKeyId));
  });

  it('has a critical SAN exactly when the subject is empty', async () => {
    const signer = signerOf(testCa());
    expect(parseCertificate(await signer.sign(template())).sanCritical).toBe(true);
    expect(parseCertificate(await signer.sign(template({ commonName: 'web' }))).sanCritical).toBe(false);
  });

  it('has a promise only from CAs whose keys sign slowly', () => {
    const slow = CA_KEYS.filter((type) => signerOf(testCa(type)).sign(template()) instanceof Promise);
    expect(slow).toEqual(['EC-P384', 'RSA-3072', 'RSA-4096', 'EC-P521']);
  });

  it.each([
    ['2049-12-31T23:59:59Z', '2049-12-31T23:59:59.000Z', 23],
    ['2050-01-01T00:00:00Z', '2050-01-01T00:00:00.000Z', 24],
    ['9999-12-31T23:59:59Z', '9999-12-31T23:59:59.000Z', 24],
    ['2026-08-01T00:00:00.987Z', '2026-08-01T00:00:00.000Z', 23],
  ])('ends at %s, as node and openssl read it', async (notAfter, expected, tag) => {
    const der = await signerOf(testCa()).sign(template({ notAfter: new Date(notAfter) }));
    expect(parseCertificate(der).notAfter.toISOString()).toBe(expected);
    expect(new Date(new X509Certificate(der).validTo).toISOString()).toBe(expected);
    expect(der.includes(Buffer.from([tag, tag === 23 ? 13 : 15]))).toBe(true);
  });

  it.each([
    ['01', '01'],
    ['7f', '7F'],
    ['80', '80'],
    ['00ff', 'FF'],
    ['000001', '01'],
    ['7fffffffffffffffffffffffffffffffffffffff', '7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF'],
  ])('with the serial number %s has it in openssl too', async (bytes, expected) => {
    const der = await signerOf(testCa()).sign(template({ serialNumber: Buffer.from(bytes, 'hex') }));
    expect(new X509Certificate(der).serialNumber).toBe(expected);
    expect(parseCertificate(der).serialNumber).toBe(expected.toLowerCase());
  });

  it('keeps what was asked for, whatever the names, times, serial numbers and sizes', () => {
    const ca = testCa();
    const signer = signerOf(ca);
    const san = fc.string({
      unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)),
      minLength: 1,
      maxLength: 300,
    });
    fc.assert(
      fc.property(
        fc.array(san, { maxLength: 60 }),
        fc.array(san, { maxLength: 4 }),
        fc
          .string({ unit: 'grapheme', minLength: 0, maxLength: 20 })
          .filter((text) => !/[\p{Cc}\p{Cs}]/u.test(text) && [...text].length <= 64),
        fc.uint8Array({ minLength: 1, maxLength: 19 }).filter((bytes) => bytes.some((byte) => byte !== 0)),
        fc.date({ min: new Date('1950-01-01'), max: new Date('9999-12-30'), noInvalidDate: true }),
        (uriSans, dnsNames, commonName, serial, notBefore) => {
          const notAfter = new Date(notBefore.getTime() + 3_600_000);
          const serialNumber = Buffer.from(serial);
          const der = signer.sign(template({ uriSans, dnsNames, commonName, notBefore, notAfter, serialNumber }));
          if (!Buffer.isBuffer(der)) throw new Error('a P-256 CA signs at once');
          const leaf = parseCertificate(der);
          expect(leaf).toMatchObject({ uriSans, dnsNames, commonName, otherSanCount: 0 });
          expect(leaf.notBefore.getTime()).toBe(Math.floor(notBefore.getTime() / 1000) * 1000);
          expect(BigInt(`0x${leaf.serialNumber}`)).toBe(BigInt(`0x${serialNumber.toString('hex')}`));
          expect(verifyCertificateSignature(leaf, ca.certificate)).toBe(true);
          expect(new X509Certificate(der).verify(ca.certificate.keyObject())).toBe(true);
        },
      ),
      { numRuns: 150 },
    );
  });

  it.each<[string, Partial<LeafTemplate>, string]>([
    ['a serial number of zero', { serialNumber: Buffer.alloc(4) }, 'serial-number'],
    ['an empty serial number', { serialNumber: Buffer.alloc(0) }, 'serial-number'],
    ['a serial number of 21 octets', { serialNumber: Buffer.alloc(20, 0xff) }, 'serial-number'],
    ['a serial number of 10,000 octets', { serialNumber: Buffer.alloc(10_000, 1) }, 'serial-number'],
    ['an end before its beginning', { notAfter: new Date('2026-05-30T00:00:00Z') }, 'validity'],
    ['an invalid date', { notAfter: new Date(Number.NaN) }, 'validity'],
    ['the year 10000', { notAfter: new Date('+010000-01-01T00:00:00Z') }, 'time'],
    ['a line break in a URI', { uriSans: ['spiffe://default/web\n'] }, 'san-characters'],
    ['a URI that is not ASCII', { uriSans: ['spiffe://default/wéb'] }, 'san-characters'],
    ['an empty DNS name', { dnsNames: [''] }, 'san-length'],
    ['a common name of 65 characters', { commonName: 'a'.repeat(65) }, 'name-length'],
    ['a control character in the common name', { commonName: 'web\0' }, 'name-characters'],
  ])('is refused for %s', (_, changes, rule) => {
    expect(() => signerOf(testCa()).sign(template(changes))).toThrow(
      expect.objectContaining({ name: 'X509Error', rule }),
    );
  });
});

describe('a leaf signer', () => {
  it('refuses a key that does not belong to the CA certificate', () => {
    const ca = testCa();
    const { privateKey } = freshTestKey('EC-P256');
    expect(() => createLeafSigner({ certificate: ca.certificate, privateKey })).toThrow(
      expect.objectContaining({ rule: 'ca-key' }),
    );
  });

  it('signs many at once without mixing them up', async () => {
    const ca = testCa('EC-P384');
    const signer = signerOf(ca);
    const names = Array.from({ length: 20 }, (_, i) => `spiffe://default/service-${i}`);
    const leaves = await Promise.all(names.map((name) => signer.sign(template({ uriSans: [name] }))));
    for (const [i, der] of leaves.entries()) {
      const leaf = parseCertificate(der);
      expect(leaf.uriSans).toEqual([names[i]]);
      expect(verifyCertificateSignature(leaf, ca.certificate)).toBe(true);
    }
  });
});

describe('a root certificate', () => {
  it.each(['EC-P256', 'RSA-2048', 'RSA-3072'] as const)(
    'with a key of type %s is what Kuma makes, and openssl trusts it',
    async (type) => {
      const { privateKey, spkiDer } = testKey(type);
      const pkcs8Der = privateKey.export({ type: 'pkcs8', format: 'der' });
      const der = await createRootCertificate({
        keyPair: {
          type,
          privateKey: createPrivateKey({ key: pkcs8Der, type: 'pkcs8', format: 'der' }),
          spkiDer,
          pkcs8Der,
        },
        subject: { organization: 'Kuma', organizationalUnit: 'Mesh', commonName: 'default' },
        uriSan: 'spiffe://default',
        notBefore: new Date('2026-01-01T00:00:00Z'),
        notAfter: new Date('2036-01-01T00:00:00Z'),
        serialNumber: Buffer.from('00a0b0', 'hex'),
      });
      const root = parseCertificate(der);
      expect(root).toMatchObject({
        subject: 'CN=default,OU=Mesh,O=Kuma',
        issuer: 'CN=default,OU=Mesh,O=Kuma',
        serialNumber: 'a0b0',
        uriSans: ['spiffe://default'],
        basicConstraints: { ca: true, pathLength: undefined },
        keyUsage: new Set(['keyCertSign', 'cRLSign']),
        isSelfIssued: true,
      });
      const leaf = await createLeafSigner({ certificate: root, privateKey }).sign(template());
      const at = ['-attime', String(NOON.getTime() / 1000)];
      const said = openssl(
        ['verify', '-x509_strict', '-check_ss_sig', ...at, '-CAfile', 'root.pem', 'root.pem', 'leaf.pem'],
        {
          'root.pem': encodePem('CERTIFICATE', der),
          'leaf.pem': encodePem('CERTIFICATE', leaf),
        },
      );
      expect(said).toBe('root.pem: OK\nleaf.pem: OK\n');
    },
  );
});

function freshOrShared(type: (typeof LEAF_KEYS)[number]): Buffer {
  return type.startsWith('EC') ? freshTestKey(type).spkiDer : testKey(type).spkiDer;
}

function colons(id: Buffer | undefined): string | undefined {
  return id
    ?.toString('hex')
    .toUpperCase()
    .replace(/..(?=.)/g, '$&:');
}
