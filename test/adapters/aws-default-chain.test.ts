import { describe, expect, it } from 'vitest';
import { type ChainFault, chainFault } from '../../adapters/shared/aws-default-chain.ts';

const SECRET = 'wJalrXUtnFEMI';
const error = (name: string, more: object = {}) => Object.assign(new Error(`words with ${SECRET}`), { name, ...more });

describe("a failure of AWS's default chain", () => {
  const CASES: readonly [string, unknown, ChainFault['kind'], RegExp][] = [
    ['nothing found', error('CredentialsProviderError'), 'absent', /no AWS credentials \(CredentialsProviderError\)/],
    ['a file that is missing', error('Error', { code: 'ENOENT' }), 'absent', /file .* \(ENOENT\)/],
    ['a file that may not be read', error('Error', { code: 'EACCES' }), 'absent', /file .* \(EACCES\)/],
    ['STS out of reach', error('Error', { code: 'ECONNREFUSED' }), 'unavailable', /ECONNREFUSED/],
    ['STS that hangs', error('TimeoutError', { code: 'ETIMEDOUT' }), 'unavailable', /ETIMEDOUT/],
    ['STS that is unwell', error('InternalFailure', { $fault: 'server' }), 'unavailable', /InternalFailure/],
    ['STS that throttles', error('Throttling', { $fault: 'client' }), 'unavailable', /Throttling/],
    [
      'an identity provider out of reach',
      error('IDPCommunicationErrorException', { $fault: 'client' }),
      'unavailable',
      /IDP/,
    ],
    ['a refusal of STS', error('AccessDenied', { $fault: 'client' }), 'refused', /AccessDenied/],
    ['a name that is none', error('x\r\ny'), 'absent', /\(Error\)/],
    ['what is no error', 'a text', 'absent', /\(Error\)/],
  ];
  it.each(CASES)('(%s) is told in words of ours', (_name, reason, kind, message) => {
    const fault = chainFault(reason);
    expect(fault).toMatchObject({ kind, message: expect.stringMatching(message) });
    expect(JSON.stringify(fault)).not.toContain(SECRET);
  });
});
