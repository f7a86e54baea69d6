import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodePem, encodePem } from '../../src/x509/pem.ts';
import { X509Error } from '../../src/x509/x509-error.ts';

const block = (body: string, label = 'CERTIFICATE'): string =>
  `-----BEGIN ${label}-----\n${body}\n-----END ${label}-----\n`;

describe('PEM', () => {
  it('keeps any bytes, in lines of 64 characters', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { minLength: 1, maxLength: 5 }),
        (parts) => {
          const text = parts.map((part) => encodePem('CERTIFICATE', Buffer.from(part))).join('');
          expect(decodePem(text).map(({ label, der }) => [label, Uint8Array.from(der)])).toEqual(
            parts.map((part) => ['CERTIFICATE', part]),
          );
          expect(text.split('\n').every((line) => line.length <= 64)).toBe(true);
          expect(text.endsWith('-----END CERTIFICATE-----\n')).toBe(true);
        },
      ),
    );
  });

  it('is read with text around it, CRLF, indentation and long lines', () => {
    const text = `subject=CN = root\r\n${block('AQID\r\n  BAUG').replaceAll('\n', '\r\n')}issuer: me\n${block('AQ==', 'EC PARAMETERS')}`;
    expect(decodePem(text).map(({ label, der }) => [label, der.toString('hex')])).toEqual([
      ['CERTIFICATE', '010203040506'],
      ['EC PARAMETERS', '01'],
    ]);
  });

  it('of a text without blocks is an empty list', () => {
    expect(decodePem('')).toEqual([]);
    expect(decodePem('nothing here')).toEqual([]);
  });

  it.each<[string, string, string]>([
    ['a foreign character', block('AQ!D'), 'pem-base64'],
    ['base64url', block('-_-_'), 'pem-base64'],
    ['missing padding', block('AQI'), 'pem-base64'],
    ['padding in the middle', block('AQ==AQ=='), 'pem-base64'],
    ['bits behind the last byte', block('AR=='), 'pem-base64'],
    ['an empty block', block(''), 'pem-base64'],
    ['headers of an encrypted key', block('Proc-Type: 4,ENCRYPTED\n\nAQID', 'RSA PRIVATE KEY'), 'pem-headers'],
    ['no END line', '-----BEGIN CERTIFICATE-----\nAQID\n', 'pem-unterminated'],
    [
      'the END line of another label',
      '-----BEGIN CERTIFICATE-----\nAQID\n-----END X509 CRL-----\n',
      'pem-unterminated',
    ],
    ['a label in lower case', block('AQID', 'certificate'), 'pem-label'],
    ['a label without its dashes', '-----BEGIN CERTIFICATE\nAQID', 'pem-label'],
    ['65 blocks', block('AQID').repeat(65), 'pem-blocks'],
    ['more than 256 KiB', `${' '.repeat(256 * 1024)}${block('AQID')}`, 'pem-size'],
  ])('is refused for %s', (_, text, rule) => {
    expect(() => decodePem(text)).toThrow(expect.objectContaining({ name: 'X509Error', rule }));
  });

  it('has a limit that the caller may set', () => {
    expect(() => decodePem(block('AQID'), { maxBytes: 20 })).toThrow(expect.objectContaining({ rule: 'pem-size' }));
  });

  it('of random text is read or refused, never anything else', () => {
    const piece = fc.constantFrom('-----BEGIN ', 'CERTIFICATE', '-----', '-----END ', '\n', 'AQID', '=', ':', 'x');
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
        try {
          decodePem(pieces.join(''));
        } catch (error) {
          expect(error).toBeInstanceOf(X509Error);
        }
      }),
      { numRuns: 1000 },
    );
  });
});
