import { createCipheriv, createDecipheriv, createHash } from 'node:crypto';
import { ConfigError } from '../issuer/errors.ts';

/** The keys that stored secrets are encrypted with. */
export interface Keyring {
  /** Id of the key that `seal` uses. */
  readonly currentKeyId: string;
  has(keyId: string): boolean;
  /**
   * `enc:v1:<keyId>:<base64 of nonce, ciphertext, tag>`, AES-256-GCM with a fresh 12-byte nonce. `context` must be given again to `open`:
   * a sealed text that was moved elsewhere does not open.
   */
  seal(text: string, context: string): string;
  /**
   * @throws Error when the key is not here, or the text was changed or moved. Nothing that a caller of the service could mend, and so none of
   * the errors with a code. No message tells any content.
   */
  open(sealed: string, context: string): string;
}

export interface KeyringOptions {
  /** 32 bytes each. The first one seals; all open. */
  readonly keys: readonly Buffer[];
  readonly random: { bytes(length: number): Buffer };
  /** Where the keys come from, for messages. */
  readonly source: string;
}

export const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const PREFIX = 'enc:';
const VERSION = 'v1';
const KEY_ID_LENGTH = 8;

/** Sealed texts with the same first `length` characters are sealed with the same key. */
export const SEALED_BEGIN = {
  prefix: `${PREFIX}${VERSION}:`,
  length: PREFIX.length + VERSION.length + 1 + KEY_ID_LENGTH,
} as const;

/** Of a sealed text or its begin; nothing is decrypted. */
export function keyIdOf(sealed: string): string {
  return sealed.slice(SEALED_BEGIN.prefix.length, SEALED_BEGIN.length);
}

/** True for whatever `seal` of this or a later version made. JSON never begins like this. */
export function isSealed(text: string): boolean {
  return text.startsWith(PREFIX);
}

/** @throws ConfigError when a key has the wrong length or stands twice */
export function createKeyring({ keys, random, source }: KeyringOptions): Keyring {
  const byId = new Map(keys.map((key) => [idOf(key), key]));
  const [current] = byId;
  if (current === undefined) throw new ConfigError(`${source} holds no key`, { fix: FIX_KEYS });
  if (keys.some((key) => key.length !== KEY_BYTES))
    throw new ConfigError(`a key in ${source} is not ${KEY_BYTES} bytes long`, { fix: FIX_KEYS });
  if (byId.size < keys.length)
    throw new ConfigError(`${source} holds a key twice`, { fix: 'remove one of the two lines' });
  const [currentKeyId, currentKey] = current;

  return {
    currentKeyId,
    has: (keyId) => byId.has(keyId),
    seal(text, context) {
      const nonce = random.bytes(NONCE_BYTES);
      const cipher = createCipheriv('aes-256-gcm', currentKey, nonce).setAAD(Buffer.from(context));
      const bytes = Buffer.concat([nonce, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()]);
      return `${PREFIX}${VERSION}:${currentKeyId}:${bytes.toString('base64')}`;
    },
    open(sealed, context) {
      const [, version, keyId = '', content = ''] = sealed.split(':');
      if (version !== VERSION) throw new Error(`${context} is encrypted in an unknown format: start a newer mesh-ca`);
      const key = byId.get(keyId);
      if (key === undefined) {
        throw new Error(
          `${context} is encrypted with key ${keyId}, which is not in ${source}: add that key as a further line, then start again`,
        );
      }
      const bytes = Buffer.from(content, 'base64');
      if (bytes.length < NONCE_BYTES + TAG_BYTES) throw new Error(`${context} is encrypted, but cut off`);
      const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, NONCE_BYTES), {
        authTagLength: TAG_BYTES,
      });
      decipher.setAAD(Buffer.from(context)).setAuthTag(bytes.subarray(-TAG_BYTES));
      try {
        const text = decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES));
        return Buffer.concat([text, decipher.final()]).toString('utf8');
      } catch (cause) {
        throw new Error(
          `${context} was changed outside of mesh-ca, or copied from elsewhere: it does not decrypt with key ${keyId} of ${source}`,
          { cause },
        );
      }
    },
  };
}

/** Tells keys apart and says nothing about them. */
function idOf(key: Buffer): string {
  return createHash('sha256').update('mesh-ca store key').update(key).digest('hex').slice(0, KEY_ID_LENGTH);
}

const FIX_KEYS = `write one key a line, ${KEY_BYTES} random bytes in base64 each: \`openssl rand -base64 ${KEY_BYTES}\``;
