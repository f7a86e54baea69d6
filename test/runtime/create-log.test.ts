import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { ConfigError, IssuerUnavailableError } from '../../src/issuer/errors.ts';
import { createLog, type LogLevel } from '../../src/runtime/create-log.ts';
import type { Log } from '../../src/runtime/log.ts';

const KEY_PEM = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  .privateKey.export({ type: 'pkcs8', format: 'pem' })
  .toString();
const KEY_BODY = KEY_PEM.split('\n')[1] ?? '';
const JWT = 'eyJhbGciOiJSUzI1NiJ9.eyJOYW1lIjoiYWxpY2UifQ.c2lnbmF0dXJl';

function logged(use: (log: Log) => void, level: LogLevel = 'info') {
  const lines: string[] = [];
  use(createLog({ level, destination: { write: (line) => void lines.push(line) } }));
  return { text: lines.join(''), lines: lines.map((line): Record<string, unknown> => JSON.parse(line)) };
}

describe('the log', () => {
  it('writes one JSON object a line with time, level, message and fields', () => {
    const { lines, text } = logged((log) =>
      log.child({ mesh: 'default' }).info({ outcome: 'issued', count: 2 }, 'certificate issued'),
    );
    expect(lines).toEqual([
      {
        level: 'info',
        time: expect.stringMatching(/^\d{4}-.*Z$/),
        mesh: 'default',
        outcome: 'issued',
        count: 2,
        msg: 'certificate issued',
      },
    ]);
    expect(text.endsWith('\n')).toBe(true);
  });

  it('leaves out what is below its level', () => {
    const { lines } = logged((log) => {
      log.debug({}, 'a');
      log.info({}, 'b');
      log.warn({}, 'c');
      log.error({}, 'd');
    }, 'warn');
    expect(lines.map(({ msg }) => msg)).toEqual(['c', 'd']);
  });

  it.each([
    'token',
    'authorization',
    'Authorization',
    'privateKey',
    'private_key',
    'key',
    'secret',
    'data',
    'inline',
    'inlineString',
    'password',
    'csr',
    'x-vault-token',
    'X-Vault-Token',
    'clientToken',
    'apiToken',
    'accessKeySecret',
    'set-cookie',
  ])('shows no value of a field named %s, at any depth', (name) => {
    const { text } = logged((log) => {
      log.info({ [name]: 'plain-value-1' }, 'flat');
      log.info({ request: { headers: [{ [name]: 'plain-value-2' }] } }, 'deep');
      log.info({ map: new Map([[name, 'plain-value-3']]) }, 'map');
      log.child({ [name]: 'plain-value-4' }).info({}, 'child');
    });
    expect(text).not.toMatch(/plain-value/);
    expect(text.match(/\[redacted\]/g)).toHaveLength(4);
  });

  const secrets: readonly { name: string; text: string; secret: string }[] = [
    { name: 'a private key', text: KEY_PEM, secret: KEY_BODY },
    { name: 'a private key on one line', text: KEY_PEM.replaceAll('\n', '\\n'), secret: KEY_BODY },
    { name: 'a private key that is cut off', text: KEY_PEM.slice(0, 120), secret: KEY_BODY.slice(0, 20) },
    {
      name: 'a key in base64',
      text: Buffer.from(KEY_PEM).toString('base64'),
      secret: Buffer.from(KEY_PEM).toString('base64').slice(40, 80),
    },
    { name: 'a Vault token', text: 'hvs.CAESIJlWWKDvNLKkyTbN', secret: 'CAESIJlWWKDv' },
    { name: 'an old Vault token', text: 's.iyNUhq8Ov4hIAx6snw5mB2nL', secret: 'iyNUhq8Ov4' },
    { name: 'a JWT', text: JWT, secret: 'eyJOYW1l' },
    { name: 'a bearer token', text: 'Authorization: Bearer abcdefgh12345678', secret: 'abcdefgh12345678' },
    { name: 'a password in a URL', text: 'postgres://mesh:hunter2@db:5432/ca', secret: 'hunter2' },
  ];
  it.each(secrets)('takes $name out of messages, fields and errors', ({ text: held, secret }) => {
    const error = new Error(`call failed: ${held}`, { cause: new Error(`because of ${held}`) });
    const { text } = logged((log) => {
      log.info({ detail: `before ${held} after` }, 'field');
      log.info({ list: [[held]] }, 'list');
      log.info({ err: error }, 'error');
      log.info({}, `message ${held}`);
    }, 'debug');
    expect(text).not.toContain(secret);
    expect(text.match(/\[redacted\]/g)?.length).toBeGreaterThanOrEqual(6);
  });

  it.each([
    'kuma.io/service=web',
    'spiffe://default/web',
    'https://vault.example:8200/v1/pki/sign/role',
    's.example.com',
    'basics',
  ])('leaves %s as it is', (value) => {
    expect(logged((log) => log.info({ value }, 'x')).lines[0]).toMatchObject({ value });
  });

  it('tells an expected error by code, message, violations and causes, without stacks', () => {
    const error = new IssuerUnavailableError('no answer within 5000 ms', {
      cause: new ConfigError('conf is wrong', { violations: [{ field: 'conf.address', message: 'no URL' }] }),
    });
    expect(logged((log) => log.info({ err: error }, 'x')).lines[0]).toMatchObject({
      err: {
        name: 'IssuerUnavailableError',
        code: 'ERR_ISSUER_UNAVAILABLE',
        message: 'no answer within 5000 ms',
        cause: { code: 'ERR_CONFIG_INVALID', violations: [{ field: 'conf.address', message: 'no URL' }] },
      },
    });
    expect(logged((log) => log.info({ err: error }, 'x')).text).not.toContain('"stack"');
    expect(logged((log) => log.info({ err: error }, 'x'), 'debug').text).toContain('"stack"');
  });

  it('tells the stack of an unexpected error, but nothing that a library hung on it', () => {
    const error = Object.assign(new TypeError('x is not a function'), { config: { headers: 'plain-value' } });
    const { text, lines } = logged((log) => log.error({ err: error }, 'x'));
    expect(lines[0]).toMatchObject({
      err: { name: 'TypeError', stack: expect.stringContaining('create-log.test.ts') },
    });
    expect(text).not.toContain('plain-value');
  });

  it('stays small and alive whatever it is given', () => {
    const circle: Record<string, unknown> = {
      big: 'x'.repeat(100_000),
      bytes: Buffer.alloc(5000),
      when: new Date(Number.NaN),
      n: 10n,
    };
    circle.self = circle;
    const { text, lines } = logged((log) => log.info({ circle, many: Array(10_000).fill(1), f: () => 1 }, 'x'));
    expect(lines).toHaveLength(1);
    expect(text.length).toBeLessThan(60_000);
    expect(lines[0]).toMatchObject({
      circle: { bytes: '[5000 bytes]', when: 'invalid date', n: '10' },
      f: '[function]',
    });
  });

  it('gets through text that was made to keep its patterns busy', () => {
    const hostile = [
      '-----BEGIN '.repeat(700),
      'eyJ-'.repeat(2000),
      'hvs.'.repeat(2000),
      `://${'a:'.repeat(4000)}`,
      'Bearer '.repeat(1000),
    ];
    const { lines } = logged((log) => {
      for (const text of hostile) log.info({ text }, 'x');
    });
    expect(lines).toHaveLength(hostile.length);
  });
});
