import { describe, expect, it } from 'vitest';
import { UnauthenticatedError } from '../../src/issuer/errors.ts';
import { encodeMessage, statusOf } from '../../src/sds/grpc-status.ts';

describe('the message of a stream that is refused', () => {
  it('can be read in the log of Envoy, which shows the header as it came', () => {
    const fix = 'mesh-ca generate dataplane-token -m default --name "web-1"';
    const { metadata } = statusOf(new UnauthenticatedError('the token has expired', { fix }));
    expect(metadata.get('grpc-message')).toEqual([`the token has expired; ${fix}`]);
  });

  it.each([
    ['100 %', '100 %25'],
    ['Grüße', 'Gr%C3%BC%C3%9Fe'],
    ['two\nlines', 'two%0Alines'],
    ['', ''],
  ])('%j is a header that every client decodes', (text, header) => {
    expect(encodeMessage(text)).toBe(header);
    expect(decodeURIComponent(header)).toBe(text);
  });
});
