import { describe, expect, it } from 'vitest';
import { createCalmLog } from '../../src/runtime/calm-log.ts';
import type { Log, LogFields } from '../../src/runtime/log.ts';
import { createFakeClock, TEST_START } from '../conformance/issuer-deps.ts';

function createWorld(options = {}) {
  const clock = createFakeClock(TEST_START);
  const lines: [string, LogFields, string][] = [];
  const write = (level: string) => (fields: LogFields, message: string) => void lines.push([level, fields, message]);
  const plain: Log = {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    child: () => plain,
  };
  return { clock, lines, log: createCalmLog(plain, clock, options) };
}

describe('a calm log', () => {
  it('writes the first of equal warnings at once, and counts the others until ten seconds have passed', () => {
    const { clock, lines, log } = createWorld();
    const fail = (dataplane: string) => log.warn({ mesh: 'm', backend: 'b', code: 'ERR', dataplane }, 'request failed');
    for (let i = 0; i < 500; i += 1) fail(`dp-${i}`);
    expect(lines.map(([, { dataplane, repeated }]) => [dataplane, repeated])).toEqual([['dp-0', undefined]]);
    clock.advance(10_000);
    fail('later');
    clock.advance(10_000);
    fail('last');
    expect(lines.slice(1).map(([, { dataplane, repeated }]) => [dataplane, repeated])).toEqual([
      ['later', 499],
      ['last', undefined],
    ]);
  });

  it('tells meshes, backends, codes and texts apart', () => {
    const { lines, log } = createWorld();
    for (const mesh of ['a', 'b']) {
      for (const code of ['x', 'y']) for (const text of ['one', 'two']) log.warn({ mesh, code }, text);
    }
    expect(lines).toHaveLength(8);
  });

  it('lets everything but warnings through', () => {
    const { lines, log } = createWorld();
    for (let i = 0; i < 3; i += 1) {
      log.debug({}, 'd');
      log.info({}, 'i');
      log.error({}, 'e');
    }
    expect(lines).toHaveLength(9);
  });

  it('remembers only so many kinds', () => {
    const { lines, log } = createWorld({ maxKinds: 2 });
    for (const mesh of ['a', 'b', 'c', 'a', 'c']) log.warn({ mesh }, 'again');
    expect(lines.map(([, { mesh }]) => mesh)).toEqual(['a', 'b', 'c', 'a']);
  });
});
