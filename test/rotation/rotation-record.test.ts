import { describe, expect, it } from 'vitest';
import { isNearItsEnd } from '../../src/rotation/root-renewal.ts';
import { readRotationRecord, writeRotationRecord } from '../../src/rotation/rotation-record.ts';
import { createTurns } from '../../src/rotation/turns.ts';
import { WakeableWait } from '../../src/rotation/wakeable-wait.ts';
import { createFakeClock, TEST_START } from '../conformance/issuer-deps.ts';
import { settle } from '../support/pass-time.ts';
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

describe('the end of a root', () => {
  const years = (from: number, to: number) => ({
    notBefore: new Date(`${from}-01-01T00:00:00Z`),
    notAfter: new Date(`${to}-01-01T00:00:00Z`),
  });

  it.each([
    ['far', years(2020, 2030), '2027-12-01T00:00:00Z', false],
    ['near in the last fifth', years(2020, 2030), '2028-01-02T00:00:00Z', true],
    ['over', years(2020, 2030), '2031-01-01T00:00:00Z', true],
  ])('is %s', (_, root, now, isNear) => {
    expect(isNearItsEnd(root, new Date(now))).toBe(isNear);
  });
});

describe('turns', () => {
  it('of one key come one after the other, also after one that failed; others do not wait', async () => {
    const turns = createTurns();
    const order: string[] = [];
    let open = () => {};
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    const first = turns.take('a', async () => {
      await gate;
      order.push('a1');
      throw new Error('failed');
    });
    const second = turns.take('a', async () => void order.push('a2'));
    await turns.take('b', async () => void order.push('b1'));
    open();
    await expect(first).rejects.toThrow('failed');
    await second;
    await turns.idle();
    expect(order).toEqual(['b1', 'a1', 'a2']);
  });
});

describe('a wait that can be ended early', () => {
  const start = () => {
    const clock = createFakeClock(TEST_START);
    const controller = new AbortController();
    const wait = new WakeableWait(clock, controller.signal);
    let isOver = false;
    const passing = wait.pass(100, 1_000).then(() => {
      isOver = true;
    });
    const step = async (ms: number) => {
      clock.advance(ms);
      await settle();
      return isOver;
    };
    return { clock, controller, wait, passing, step };
  };

  it('ends by itself', async () => {
    const { step } = start();
    expect([await step(100), await step(899), await step(1)]).toEqual([false, false, true]);
  });

  it('ends when it is woken', async () => {
    const { wait, step, clock } = start();
    await step(300);
    wait.wake();
    expect(await step(0)).toBe(true);
    expect(clock.pending).toBe(0);
  });

  it('not before its shortest time', async () => {
    const { wait, step } = start();
    wait.wake();
    expect([await step(99), await step(1)]).toEqual([false, true]);
  });

  it('ends at once when all ends, and leaves nothing behind', async () => {
    const { controller, step, clock } = start();
    await step(300);
    controller.abort();
    expect(await step(0)).toBe(true);
    expect(clock.pending).toBe(0);
  });
});
