import { describe, expect, it } from 'vitest';
import { parseSecret, secretToJson } from '../../src/mesh/secret.ts';
import { errorOf, violationsOf } from './violations-of.ts';

const key = { mesh: 'default', name: 'ca-1' };

describe('a secret', () => {
  it('is decoded, and written as it came', () => {
    const body = { type: 'Secret', mesh: 'default', name: 'ca-1', data: 'aGVsbG8=', labels: { a: 'b' }, foo: 1 };
    const secret = parseSecret(body, key);
    expect(secret).toEqual({ type: 'Secret', ...key, labels: { a: 'b' }, data: Buffer.from('hello') });
    expect(secretToJson(secret)).toEqual({ labels: { a: 'b' }, data: 'aGVsbG8=' });
    expect(parseSecret({ data: secret.data.toString('base64') }, key).data).toEqual(secret.data);
  });

  it.each<[string, unknown, string]>([
    ['no data', {}, 'data: has to be defined'],
    ['data that is a number', { data: 5 }, 'data: has to be a string, got a number; put it in quotes'],
    ['null', { data: null }, 'data: has to be a string, got null'],
    ['plain text', { data: '-----BEGIN' }, 'data: has to be standard base64 with padding and without white space'],
    ['a line break', { data: 'aGVs\nbG8=' }, 'data: has to be standard base64 with padding and without white space'],
    ['no padding', { data: 'aGVsbG8' }, 'data: has to be standard base64 with padding and without white space'],
    ['the alphabet of URLs', { data: '_-8=' }, 'data: has to be standard base64 with padding and without white space'],
    ['stray bits', { data: 'aGVsbG9=' }, 'data: has to be standard base64 with padding and without white space'],
    ['over 1 MiB', { data: Buffer.alloc(2 ** 20 + 1).toString('base64') }, 'data: cannot be larger than 1048576 bytes'],
    ['a list', [], ': has to be an object, got a list'],
  ])('is refused with %s', (_, body, violation) => {
    expect(violationsOf(() => parseSecret(body, key))).toEqual([violation]);
  });

  it('may have exactly 1 MiB, and may be empty', () => {
    expect(parseSecret({ data: Buffer.alloc(2 ** 20, 7).toString('base64') }, key).data.length).toBe(2 ** 20);
    expect(parseSecret({ data: '' }, key).data.length).toBe(0);
  });

  it('never shows in a message', () => {
    const error = errorOf(() => parseSecret({ data: 'hunter2 hunter2', labels: { hunter2: 5 } }, key));
    expect(String(error)).toContain('secret "ca-1" is not valid');
    expect(String(error)).not.toContain('hunter2 hunter2');
  });
});
