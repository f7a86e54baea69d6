import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { generateKeyPair, loadPrivateKey } from '../../src/x509/key-pair.ts';
import { encodePem } from '../../src/x509/pem.ts';
import { parseSubjectPublicKey } from '../../src/x509/subject-public-key.ts';
import { openssl } from './openssl.ts';

describe('a generated key', () => {
  it.each(['EC-P256', 'EC-P384', 'RSA-2048', 'RSA-3072'] as const)(
    'of type %s signs, and node writes it byte for byte as we do',
    async (type) => {
      const keyPair = await generateKeyPair(type);
      expect(keyPair.type).toBe(type);
      expect(parseSubjectPublicKey(keyPair.spkiDer).type).toBe(type);
      const imported = createPrivateKey({ key: keyPair.pkcs8Der, format: 'der', type: 'pkcs8' });
      expect(imported.export({ type: 'pkcs8', format: 'der' }).equals(keyPair.pkcs8Der)).toBe(true);
      expect(createPublicKey(imported).export({ type: 'spki', format: 'der' }).equals(keyPair.spkiDer)).toBe(true);
      const publicKey = createPublicKey({ key: keyPair.spkiDer, format: 'der', type: 'spki' });
      const data = Buffer.from('hello');
      expect(verify('sha256', data, publicKey, sign('sha256', data, keyPair.privateKey))).toBe(true);
    },
  );

  it('is well formed also where the private scalar begins with zeros', async () => {
    const lengths = new Set<number>();
    for (let i = 0; i < 1000; i++) lengths.add((await generateKeyPair('EC-P256')).pkcs8Der.length);
    expect([...lengths]).toEqual([138]);
  });

  it('is a good key to openssl', async () => {
    const { pkcs8Der } = await generateKeyPair('EC-P256');
    const said = openssl(['pkey', '-in', 'key.pem', '-noout', '-check'], {
      'key.pem': encodePem('PRIVATE KEY', pkcs8Der),
    });
    expect(said).toContain('Key is valid');
  });
});

describe('a private key in PEM', () => {
  const ec = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  const ed25519 = generateKeyPairSync('ed25519').privateKey;
  const pem = (key: typeof ec, type: 'pkcs8' | 'pkcs1' | 'sec1') => String(key.export({ type, format: 'pem' }));

  it.each([
    ['PKCS#8 of an EC key', ec, pem(ec, 'pkcs8')],
    ['SEC 1', ec, pem(ec, 'sec1')],
    [
      'SEC 1 behind its parameters',
      ec,
      `${encodePem('EC PARAMETERS', Buffer.from('06082a8648ce3d030107', 'hex'))}${pem(ec, 'sec1')}`,
    ],
    ['PKCS#8 of an RSA key', rsa, pem(rsa, 'pkcs8')],
    ['PKCS#1', rsa, pem(rsa, 'pkcs1')],
    ['PKCS#8 of an Ed25519 key', ed25519, pem(ed25519, 'pkcs8')],
  ])('is loaded from %s', (_, key, text) => {
    expect(loadPrivateKey(text).equals(key)).toBe(true);
  });

  const encrypted = String(ec.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'test' }));
  const legacy = String(ec.export({ type: 'sec1', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'test' }));
  it.each([
    ['nothing', '', 'private-key'],
    ['a certificate only', encodePem('CERTIFICATE', Buffer.of(1)), 'private-key'],
    ['rubbish inside', encodePem('PRIVATE KEY', Buffer.from('not a key')), 'private-key'],
    ['the wrong label', encodePem('RSA PRIVATE KEY', ec.export({ type: 'pkcs8', format: 'der' })), 'private-key'],
    ['encryption (PKCS#8)', encrypted, 'private-key-encrypted'],
    ['encryption (legacy)', legacy, 'pem-headers'],
  ])('is refused for %s', (_, text, rule) => {
    expect(() => loadPrivateKey(text)).toThrow(expect.objectContaining({ name: 'X509Error', rule }));
  });
});
