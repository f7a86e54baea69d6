import { describe, expect, it } from 'vitest';
import type { Violation } from '../../src/issuer/errors.ts';
import { parseDataSource } from '../../src/mesh/data-source.ts';

function parse(value: unknown) {
  const violations: Violation[] = [];
  const source = parseDataSource(value, 'cert', violations);
  return { source, violations: violations.map(({ field, message }) => `${field}: ${message}`) };
}

describe('a data source', () => {
  it.each<[unknown, unknown]>([
    [{ secret: 'ca-2-cert' }, { kind: 'secret', secret: 'ca-2-cert' }],
    [{ file: '/etc/ca.pem' }, { kind: 'file', file: '/etc/ca.pem' }],
    [{ inline: 'aGVsbG8=' }, { kind: 'inline', inline: Buffer.from('hello') }],
    [{ inline: 'aGVs\r\nbG8=\n' }, { kind: 'inline', inline: Buffer.from('hello') }],
    [{ inlineString: 'grüße' }, { kind: 'inline', inline: Buffer.from('grüße') }],
    [{ inlineString: '' }, { kind: 'inline', inline: Buffer.alloc(0) }],
    [
      { secret: 'a', inline: null, unknown: 1 },
      { kind: 'secret', secret: 'a' },
    ],
  ])('reads %j', (value, source) => {
    expect(parse(value)).toEqual({ source, violations: [] });
  });

  it.each<[string, unknown, string]>([
    ['nothing', undefined, 'cert: has to be defined'],
    ['null', null, 'cert: has to be defined'],
    ['no choice', {}, 'cert: data source has to be chosen. Available sources: secret, file, inline'],
    [
      'an unknown choice',
      { vault: 'x' },
      'cert: data source has to be chosen. Available sources: secret, file, inline',
    ],
    ['an empty secret', { secret: '' }, 'cert.secret: cannot be empty'],
    ['an empty file', { file: '' }, 'cert.file: cannot be empty'],
    ['an empty inline', { inline: '' }, 'cert.inline: cannot be empty'],
    ['two choices', { secret: 'a', file: 'b' }, 'cert: only one data source can be chosen, got: secret, file'],
    ['a text', 'ca-2-cert', 'cert: has to be an object, got a string'],
    ['a list', [], 'cert: has to be an object, got a list'],
    ['a number', { secret: 5 }, 'cert.secret: has to be a string, got a number'],
    ['no base64', { inline: 'LS0t...' }, 'cert.inline: has to be standard base64 with padding'],
    ['base64 of URLs', { inline: '_-8=' }, 'cert.inline: has to be standard base64 with padding'],
    ['base64 without padding', { inline: 'aGVsbG8' }, 'cert.inline: has to be standard base64 with padding'],
    ['a NUL in a path', { file: '/etc/\0' }, 'cert.file: cannot hold control characters'],
    ['a long path', { file: 'a'.repeat(4097) }, 'cert.file: cannot be longer than 4096 characters'],
    ['a long secret name', { secret: 'a'.repeat(254) }, 'cert.secret: value length must less or equal 253'],
    ['two megabytes', { inlineString: 'a'.repeat(2 ** 21) }, 'cert.inlineString: cannot be larger than 1048576 bytes'],
  ])('refuses %s', (_, value, violation) => {
    expect(parse(value)).toEqual({ source: undefined, violations: [violation] });
  });
});
