import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import * as peculiar from '@peculiar/x509';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { createCsr } from '../../src/x509/create-csr.ts';
import { parseCsr, verifyCsrSignature, verifyCsrSignatureAsync } from '../../src/x509/csr.ts';
import { TAG } from '../../src/x509/der-reader.ts';
import { der, oid, sequence } from '../../src/x509/der-writer.ts';
import { generateKeyPair, type KeyPair } from '../../src/x509/key-pair.ts';
import type { KeyType } from '../../src/x509/key-types.ts';
import { decodePem, encodePem } from '../../src/x509/pem.ts';
import { parseSubjectPublicKey } from '../../src/x509/subject-public-key.ts';
import { X509Error } from '../../src/x509/x509-error.ts';
import { buildCsr } from './malformed-csr.ts';
import { openssl } from './openssl.ts';

const KEY_TYPES: readonly KeyType[] = ['EC-P256', 'EC-P384', 'RSA-2048', 'RSA-3072', 'RSA-4096'];
const keyPairs = new Map<KeyType, KeyPair>();

beforeAll(async () => {
  peculiar.cryptoProvider.set(webcrypto);
  for (const keyPair of await Promise.all(KEY_TYPES.map(generateKeyPair))) keyPairs.set(keyPair.type, keyPair);
}, 120_000);

function keyPair(type: KeyType = 'EC-P256'): KeyPair {
  const found = keyPairs.get(type);
  if (found === undefined) throw new Error(`no key of type ${type}`);
  return found;
}

const SUBJECT = {
  uriSans: ['spiffe://default/web', 'kuma://kuma.io/service/web'],
  dnsNames: ['web.mesh'],
  commonName: 'web.default',
};

/** A request made by the openssl program. */
function opensslRequest(...args: readonly string[]): Buffer {
  const config = [
    '[req]',
    'distinguished_name = dn',
    'attributes = more',
    'prompt = no',
    '[dn]',
    'CN = web',
    '[more]',
    'challengePassword = not-a-secret',
    'unstructuredName = somebody',
    '[ext]',
    'subjectAltName = URI:spiffe://default/web,DNS:web.mesh,IP:10.0.0.1,email:a@b.example',
    'keyUsage = critical,keyCertSign',
    'extendedKeyUsage = codeSigning',
    'basicConstraints = critical,CA:TRUE',
  ].join('\n');
  const pem = openssl(
    [
      'req',
      '-new',
      '-config',
      'req.cnf',
      '-reqexts',
      'ext',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-keyout',
      'key.pem',
      ...args,
    ],
    { 'req.cnf': config },
  );
  return decodePem(pem)[0]?.der ?? Buffer.alloc(0);
}

describe('a request made here', () => {
  it.each(KEY_TYPES)(
    'with a key of type %s is read and proven by openssl, @peculiar/x509 and our reader',
    async (type) => {
      const csrDer = createCsr(keyPair(type), SUBJECT);
      const csr = parseCsr(csrDer);
      expect(csr).toMatchObject({ ...SUBJECT, subjectIsEmpty: false, otherSanCount: 0, publicKey: { type } });
      expect(csr.publicKey.spkiDer.equals(keyPair(type).spkiDer)).toBe(true);
      expect(verifyCsrSignature(csr)).toBe(true);
      expect(await verifyCsrSignatureAsync(parseCsr(csrDer))).toBe(true);

      const judge = new peculiar.Pkcs10CertificateRequest(csrDer);
      expect(await judge.verify()).toBe(true);
      expect(judge.subject).toBe('CN=web.default');
      const sanDer = judge.getExtension('2.5.29.17')?.rawData ?? new ArrayBuffer(0);
      expect(new peculiar.SubjectAlternativeNameExtension(sanDer).names.toJSON()).toEqual([
        { type: 'url', value: 'spiffe://default/web' },
        { type: 'url', value: 'kuma://kuma.io/service/web' },
        { type: 'dns', value: 'web.mesh' },
      ]);

      const pem = encodePem('CERTIFICATE REQUEST', csrDer);
      const said = openssl(['req', '-in', 'csr.pem', '-noout', '-verify', '-subject', '-text'], { 'csr.pem': pem });
      expect(said).toContain('subject=CN = web.default');
      expect(said).toContain('URI:spiffe://default/web, URI:kuma://kuma.io/service/web, DNS:web.mesh');
    },
  );

  it('may have an empty subject, or no names at all', () => {
    const empty = parseCsr(createCsr(keyPair(), { uriSans: [], dnsNames: [], commonName: '' }));
    expect(empty).toMatchObject({ commonName: '', subjectIsEmpty: true, uriSans: [], dnsNames: [] });
    expect(verifyCsrSignature(empty)).toBe(true);
  });

  it('holds any names that may stand in a certificate', () => {
    const san = fc.string({
      unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)),
      minLength: 1,
      maxLength: 40,
    });
    fc.assert(
      fc.property(
        fc.array(san, { maxLength: 20 }),
        fc.array(san, { maxLength: 5 }),
        san,
        (uriSans, dnsNames, commonName) => {
          const csr = parseCsr(createCsr(keyPair(), { uriSans, dnsNames, commonName }));
          expect(csr).toMatchObject({ uriSans, dnsNames, commonName });
        },
      ),
      { numRuns: 100 },
    );
  });
});

describe('a request made elsewhere', () => {
  it('by openssl, with a challenge password and extensions that we ignore, is accepted', () => {
    const csr = parseCsr(opensslRequest());
    expect(csr).toMatchObject({
      commonName: 'web',
      uriSans: ['spiffe://default/web'],
      dnsNames: ['web.mesh'],
      otherSanCount: 2,
    });
    expect(verifyCsrSignature(csr)).toBe(true);
  });

  it.each(['-sha384', '-sha512'])('by openssl with %s is accepted', (hash) => {
    expect(verifyCsrSignature(parseCsr(opensslRequest(hash)))).toBe(true);
  });

  it('by @peculiar/x509 is accepted', async () => {
    const algorithm = { name: 'ECDSA', namedCurve: 'P-384', hash: 'SHA-384' };
    const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
    const made = await peculiar.Pkcs10CertificateRequestGenerator.create({
      name: 'CN=web, O=Kuma',
      keys,
      signingAlgorithm: algorithm,
      extensions: [new peculiar.SubjectAlternativeNameExtension([{ type: 'url', value: 'spiffe://default/web' }])],
    });
    const csr = parseCsr(Buffer.from(made.rawData));
    expect(csr).toMatchObject({ commonName: 'web', uriSans: ['spiffe://default/web'], publicKey: { type: 'EC-P384' } });
    expect(verifyCsrSignature(csr)).toBe(true);
  });

  it('may write its common name as a PrintableString and have other parts in its subject', () => {
    const name = (type: Parameters<typeof oid>[0], tag: number, text: string) =>
      der(TAG.set, sequence(oid(type), der(tag, Buffer.from(text))));
    const subject = sequence(
      name('country', TAG.printableString, 'DE'),
      name('commonName', TAG.printableString, 'web-1'),
    );
    expect(parseCsr(buildCsr({ subject })).commonName).toBe('web-1');
  });

  it('may have no attributes', () => {
    expect(parseCsr(buildCsr({ attributes: [] }))).toMatchObject({ uriSans: [], dnsNames: [], otherSanCount: 0 });
  });
});

describe('the reader of requests', () => {
  it('answers random bytes with an X509Error, never with anything else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
        expect(() => parseCsr(Buffer.from(bytes))).toThrow(X509Error);
      }),
      { numRuns: 2000 },
    );
  });

  it('never lets a changed request verify', () => {
    const good = createCsr(keyPair(), SUBJECT);
    fc.assert(
      fc.property(
        fc.nat({ max: good.length - 1 }),
        fc.integer({ min: 1, max: 255 }),
        fc.nat({ max: 3 }),
        (at, change, kind) => {
          const mutated = mutate(good, at, change, kind);
          if (mutated.equals(good)) return;
          const outcome = attempt(() => verifyCsrSignature(parseCsr(mutated)));
          expect(outcome === false || outcome instanceof X509Error).toBe(true);
        },
      ),
      { numRuns: 1500 },
    );
  });
});

describe('a public key', () => {
  it.each(KEY_TYPES)('of type %s is imported by both ways as the key that it is', async (type) => {
    const { spkiDer } = keyPair(type);
    const sync = parseSubjectPublicKey(spkiDer);
    const quick = parseSubjectPublicKey(spkiDer);
    expect(sync.type).toBe(type);
    expect(sync.keyObject().export({ type: 'spki', format: 'der' }).equals(spkiDer)).toBe(true);
    expect((await quick.importKey()).export({ type: 'spki', format: 'der' }).equals(spkiDer)).toBe(true);
  });

  it.each(['EC-P256', 'EC-P384'] as const)(
    'of type %s is refused by both ways when its point is not on the curve',
    async (type) => {
      const bent = Buffer.from(keyPair(type).spkiDer);
      bent.writeUInt8(bent.readUInt8(bent.length - 1) ^ 1, bent.length - 1);
      const refusal = expect.objectContaining({ name: 'X509Error', rule: 'public-key' });
      expect(() => parseSubjectPublicKey(bent).keyObject()).toThrow(refusal);
      await expect(parseSubjectPublicKey(bent).importKey()).rejects.toThrow(refusal);
    },
  );
});

/** Changes one byte, drops one, doubles one, or cuts the end. */
function mutate(good: Buffer, at: number, change: number, kind: number): Buffer {
  const before = good.subarray(0, at);
  const byte = good.readUInt8(at);
  if (kind === 0) return Buffer.concat([before, Buffer.of(byte ^ change), good.subarray(at + 1)]);
  if (kind === 1) return Buffer.concat([before, good.subarray(at + 1)]);
  if (kind === 2) return Buffer.concat([before, Buffer.of(byte), good.subarray(at)]);
  return before;
}

function attempt<T>(action: () => T): T | unknown {
  try {
    return action();
  } catch (error) {
    return error;
  }
}
