import { hash } from 'node:crypto';
import { DerReader, TAG } from './der-reader.ts';

export const KEY_ID_BYTES = 20;

/** The key identifier of a SubjectPublicKeyInfo: RFC 7093 section 2, method 1: the left 160 bits of SHA-256 over the key's bits. Go does the same since 1.25. */
export function keyIdOf(spkiDer: Buffer): Buffer {
  const spki = new DerReader(spkiDer, 'the public key').expect(TAG.sequence).inside();
  spki.expect(TAG.sequence);
  return hash('sha256', spki.wholeBitString(), 'buffer').subarray(0, KEY_ID_BYTES);
}
