import { describe, expect, it } from 'vitest';
import { readRotationRecord, writeRotationRecord } from '../../src/rotation/rotation-record.ts';
import { buildRecord, STARTED } from './build-record.ts';

describe('a stored rotation', () => {
  it('is read as it was written', () => {
    const record = buildRecord({
      step: 'removing',
      paused: { at: STARTED, why: 'somebody' },
      fromRoots: ['ab'.repeat(32)],
      removed: { index: 1, spec: { name: 'ca-1', type: 'vault', conf: { fromCp: { address: 'https://vault' } } } },
      switchedAt: STARTED,
      finishedWith: '[]',
    });
    expect(readRotationRecord({ body: writeRotationRecord(record) })).toEqual(record);
  });

  it.each([
    ['no JSON', '{'],
    ['nothing', '{}'],
    ['a step that there is not', writeRotationRecord(buildRecord()).replace('"trusting"', '"flying"')],
    ['a rate of none', writeRotationRecord(buildRecord()).replace('"maxPerSecond":50', '"maxPerSecond":0')],
    ['no root', writeRotationRecord(buildRecord({ fromRoots: ['00'] }))],
    ['endless text', ' '.repeat(5 * 1024 * 1024)],
  ])('that holds %s is not believed', (_, body) => {
    expect(readRotationRecord({ body })).toBeUndefined();
  });
});
