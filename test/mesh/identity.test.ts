import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RequestInvalidError } from '../../src/issuer/errors.ts';
import { uriSansOf } from '../../src/mesh/identity.ts';
import { createTags } from '../../src/mesh/tags.ts';
import { errorOf } from './violations-of.ts';

const web = createTags([
  ['version', 'v1'],
  ['kuma.io/service', ['web-api', 'web']],
]);

describe('the identity of a data plane', () => {
  it("has Kuma's URI SANs in Kuma's order", () => {
    expect(uriSansOf('default', web, 'kuma')).toEqual([
      'spiffe://default/web',
      'spiffe://default/web-api',
      'kuma://kuma.io/service/web',
      'kuma://kuma.io/service/web-api',
      'kuma://version/v1',
    ]);
  });

  it('has exactly one SPIFFE ID with the profile spiffe', () => {
    expect(
      uriSansOf(
        'default',
        createTags([
          ['kuma.io/service', 'web'],
          ['version', 'v1'],
        ]),
        'spiffe',
      ),
    ).toEqual(['spiffe://default/web']);
    const error = errorOf(() => uriSansOf('default', web, 'spiffe', 'dp-1'));
    expect(error).toBeInstanceOf(RequestInvalidError);
    expect(String(error)).toContain(
      'dataplane "dp-1" has 2 values of the tag kuma.io/service (web, web-api), but a certificate of the profile "spiffe" has exactly one SPIFFE ID',
    );
  });

  it.each<[string, string, [string, string | string[]][], string]>([
    [
      'no service',
      'default',
      [['version', 'v1']],
      'dataplane "dp" has no kuma.io/service tag and no kuma.io/workload label, cannot derive mTLS identity',
    ],
    ['no tags', 'default', [], 'has no kuma.io/service tag'],
    [
      'a mesh in capitals',
      'Default',
      [['kuma.io/service', 'web']],
      'mesh name "Default" is not a valid SPIFFE trust domain',
    ],
    ['an empty mesh', '', [['kuma.io/service', 'web']], 'is not a valid SPIFFE trust domain'],
    ['a mesh with a slash', 'a/b', [['kuma.io/service', 'web']], 'is not a valid SPIFFE trust domain'],
    ['a long mesh', 'a'.repeat(256), [['kuma.io/service', 'web']], 'is not a valid SPIFFE trust domain'],
    [
      'a colon in the service',
      'default',
      [['kuma.io/service', 'web:80']],
      'kuma.io/service "web:80" is not a valid SPIFFE path segment',
    ],
    [
      'a service named ..',
      'default',
      [['kuma.io/service', '..']],
      'kuma.io/service ".." is not a valid SPIFFE path segment',
    ],
    [
      'a tag that no host can have',
      'default',
      [
        ['kuma.io/service', 'web'],
        ['a..b', 'x'],
      ],
      'tag "a..b" does not fit a URI',
    ],
    [
      'a tag that ends with a dot',
      'default',
      [
        ['kuma.io/service', 'web'],
        ['a.', 'x'],
      ],
      'tag "a." does not fit a URI',
    ],
    [
      'a tag with a colon',
      'default',
      [
        ['kuma.io/service', 'web'],
        ['a:b', 'x'],
      ],
      'tag "a:b" does not fit a URI',
    ],
  ])('is refused with %s', (_, mesh, tags, message) => {
    const error = errorOf(() => uriSansOf(mesh, createTags(tags), 'kuma', 'dp'));
    expect(error).toBeInstanceOf(RequestInvalidError);
    expect(String(error)).toContain(message);
  });

  it('is refused with tags that were not checked before', () => {
    for (const value of ['a b', 'a\0', 'a%20', 'a/b', '']) {
      const tags = new Map([
        ['kuma.io/service', ['web']],
        ['version', [value]],
      ]);
      expect(errorOf(() => uriSansOf('default', tags, 'kuma'))).toBeInstanceOf(RequestInvalidError);
    }
  });

  it('is refused with more SANs than fit', () => {
    const values = Array.from({ length: 64 }, (_, index) => `v${index}`);
    const tags = createTags([
      ['kuma.io/service', 'web'],
      ...['a', 'b', 'c', 'd'].map((name): [string, string[]] => [name, values]),
    ]);
    expect(String(errorOf(() => uriSansOf('default', tags, 'kuma', 'dp')))).toContain('258 URI SANs, at most 256');
  });

  it('consists of URIs that parse, without escapes', () => {
    const word = fc.string({ unit: fc.constantFrom(...'abz019.-_:/A'), minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(
        fc.dictionary(word, word),
        fc.string({ unit: fc.constantFrom(...'ab.-_9'), minLength: 1 }),
        (others, service) => {
          const error = errorOf(() => {
            const tags = createTags([...Object.entries(others), ['kuma.io/service', service]]);
            const sans = uriSansOf('default', tags, 'kuma');
            expect(sans[0]).toMatch(/^spiffe:\/\/default\/[A-Za-z0-9._-]+$/);
            for (const san of sans) {
              // RFC 3986 sets no end to the digits of a port: `kuma://a:101001/b` is a URI, though no URL that a browser takes.
              expect(san).toMatch(/^[a-z]+:\/\/[A-Za-z0-9._:/-]+$/);
            }
            expect(new Set(sans).size).toBe(sans.length);
          });
          if (error !== undefined) expect(error).toHaveProperty('code');
        },
      ),
    );
  });
});
