import type { Violation } from '../issuer/errors.ts';
import type { DataSource } from '../issuer/issuer.ts';
import { decodeBase64 } from './base64.ts';
import { describeType, isJsonObject } from './violations.ts';

/** The forms of a data source, in the order of Kuma's proto. */
const FORMS = ['secret', 'file', 'inline', 'inlineString'] as const;
/** Longest path of a `file`, and longest inline value in bytes. */
const MAX_PATH = 4096;
const MAX_INLINE_BYTES = 1024 * 1024;
const CONTROL = /\p{Cc}/u;

/**
 * Reads where a value stands: exactly one of `secret` (name of a mesh-scoped Secret), `file` (path), `inline` (base64, line breaks allowed as
 * in Kuma) or `inlineString` (plain text). Pushes violations with Kuma's messages, fields below `field`; undefined when there was one.
 * For a source that may be left out: do not call when it is undefined or null.
 */
export function parseDataSource(value: unknown, field: string, violations: Violation[]): DataSource | undefined {
  if (value === undefined || value === null) {
    violations.push({ field, message: 'has to be defined' });
    return undefined;
  }
  if (!isJsonObject(value)) {
    violations.push({ field, message: `has to be an object, got ${describeType(value)}` });
    return undefined;
  }
  const chosen = FORMS.filter((form) => value[form] !== undefined && value[form] !== null);
  const [form, second] = chosen;
  if (form === undefined) {
    violations.push({ field, message: 'data source has to be chosen. Available sources: secret, file, inline' });
    return undefined;
  }
  if (second !== undefined) {
    violations.push({ field, message: `only one data source can be chosen, got: ${chosen.join(', ')}` });
    return undefined;
  }
  const text = value[form];
  const reject = (message: string) => void violations.push({ field: `${field}.${form}`, message });
  if (typeof text !== 'string') return reject(`has to be a string, got ${describeType(text)}`);
  if (text === '' && form !== 'inlineString') return reject('cannot be empty');
  if ((form === 'secret' || form === 'file') && CONTROL.test(text)) return reject('cannot hold control characters');
  switch (form) {
    case 'secret':
      return text.length <= 253 ? { kind: 'secret', secret: text } : reject('value length must less or equal 253');
    case 'file':
      return text.length <= MAX_PATH
        ? { kind: 'file', file: text }
        : reject(`cannot be longer than ${MAX_PATH} characters`);
    case 'inlineString': {
      const inline = Buffer.from(text, 'utf8');
      return inline.length <= MAX_INLINE_BYTES ? { kind: 'inline', inline } : reject(tooLarge);
    }
    case 'inline': {
      const inline = decodeBase64(text.replace(/[\r\n]/g, ''));
      if (inline === undefined) return reject('has to be standard base64 with padding');
      return inline.length <= MAX_INLINE_BYTES ? { kind: 'inline', inline } : reject(tooLarge);
    }
  }
}

const tooLarge = `cannot be larger than ${MAX_INLINE_BYTES} bytes`;
