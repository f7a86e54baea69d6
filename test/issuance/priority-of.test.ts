import { describe, expect, it } from 'vitest';
import { priorityOf } from '../../src/issuance/priority-of.ts';
import type { Wanted } from '../../src/issuance/renewal.ts';
import type { CertificateRecord } from '../../src/store/store.ts';

const NOW = new Date('2026-11-21T12:00:00Z');
const MINUTE = 60_000;
const at = (minutes: number) => new Date(NOW.getTime() + minutes * MINUTE);

const wanted: Wanted = {
  backend: 'ca-1',
  backendHash: 'b',
  identityHash: 'i',
  keyHash: 'k',
  trustedRoots: new Set(['r']),
  now: NOW,
};
const record = (fromMinutes: number, toMinutes: number): CertificateRecord => ({
  ...{
    mesh: 'm',
    dataplane: 'd',
    backend: 'ca-1',
    backendType: 'vault',
    backendHash: 'b',
    identityHash: 'i',
    keyHash: 'k',
  },
  ...{ leaf: Buffer.of(), chain: [], rootHashes: ['r'], serialNumber: '01', issuedAt: at(fromMinutes) },
  ...{
    notBefore: at(fromMinutes),
    notAfter: at(toMinutes),
    renewAt: at(fromMinutes + 0.8 * (toMinutes - fromMinutes)),
  },
});
const DAY = 24 * 60;

describe('the priority of a new certificate', () => {
  it.each([
    ['a data plane that nothing is known of', undefined, {}, 'first'],
    ['one whose certificate has expired', record(-DAY, 0), {}, 'first'],
    ['one that started with another key', record(-DAY, DAY), { keyHash: 'other' }, 'first'],
    ['one that wants a key made', record(-DAY, DAY), { keyHash: undefined }, 'first'],
    ['one with less than a tenth of 30 days left', record(-28 * DAY, 2 * DAY), {}, 'expiring'],
    ['one with 20 minutes of an hour left', record(-40, 20), {}, 'expiring'],
    ['one with 40 minutes of an hour left', record(-20, 40), {}, 'renewal'],
    ['one whose identity changed', record(-DAY, DAY), { identityHash: 'other' }, 'changed'],
    ['one whose backend changed', record(-DAY, DAY), { backendHash: 'other' }, 'changed'],
    ['one whose root is trusted no more', record(-DAY, DAY), { trustedRoots: new Set<string>() }, 'changed'],
    [
      'one whose identity changed and that ends soon',
      record(-28 * DAY, 2 * DAY),
      { identityHash: 'other' },
      'expiring',
    ],
    ['one that is due in good time', record(-25 * DAY, 5 * DAY), {}, 'renewal'],
    ['one that is not due, by force', record(-DAY, DAY), {}, 'renewal'],
  ] as const)('of %s', (_, known, more, priority) => {
    expect(priorityOf(known, { ...wanted, ...more })).toBe(priority);
  });
});
