import { describe, expect, it } from 'vitest';
import { priorityOf } from '../../../src/issuance/queue/priority.ts';
import type { Wanted } from '../../../src/issuance/renewal.ts';
import type { CertificateRecord } from '../../../src/store/store.ts';

const NOW = new Date('2026-09-01T12:00:00Z');
const HOUR_MS = 3_600_000;

/** With so many hours of its life behind it and before it. */
function recordOf(pastHours: number, leftHours: number): CertificateRecord {
  return {
    ...{ mesh: 'default', dataplane: 'web-1', backend: 'ca-1', backendType: 'builtin' },
    ...{ backendHash: 'b', identityHash: 'i', keyHash: 'k', rootHashes: ['r'], leaf: Buffer.alloc(0), chain: [] },
    ...{ serialNumber: '1', issuedAt: NOW, notBefore: new Date(NOW.getTime() - pastHours * HOUR_MS) },
    notAfter: new Date(NOW.getTime() + leftHours * HOUR_MS),
    renewAt: NOW,
  };
}

const WANTED: Wanted = {
  ...{ backend: 'ca-1', backendHash: 'b', identityHash: 'i', keyHash: 'k' },
  ...{ trustedRoots: new Set(['r']), now: NOW },
};

describe('the priority of a certificate', () => {
  it.each([
    ['first', 'there is none', undefined, {}],
    ['first', 'it is expired', recordOf(24, 0), {}],
    ['first', 'it is for another key', recordOf(1, 23), { keyHash: 'other' }],
    ['first', 'who asks needs a key, too', recordOf(1, 23), { keyHash: undefined }],
    ['expiring', 'under a tenth of its life is left', recordOf(221, 19), {}],
    ['expiring', 'under an hour, and under half of its life, is left', recordOf(2, 0.9), {}],
    ['expiring', 'it ends, and its identity changed, too', recordOf(23, 1), { identityHash: 'other' }],
    ['changed', 'its identity changed', recordOf(1, 23), { identityHash: 'other' }],
    ['changed', 'the backend changed', recordOf(1, 23), { backendHash: 'other' }],
    ['changed', 'its root is no longer trusted', recordOf(1, 23), { trustedRoots: new Set(['other']) }],
    ['renewal', 'four fifths of its life are over', recordOf(19.2, 4.8), {}],
    ['renewal', 'it lives for 30 min only, and has 20 left', recordOf(1 / 6, 1 / 3), {}],
    ['renewal', 'somebody wants a new one', recordOf(1, 23), { now: new Date(NOW.getTime() - 1) }],
  ] as const)('is "%s" when %s', (priority, _why, record, wanted) => {
    expect(priorityOf(record, { ...WANTED, ...wanted })).toBe(priority);
  });
});
