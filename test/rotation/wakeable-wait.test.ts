import { describe, expect, it } from 'vitest';
import { WakeableWait } from '../../src/rotation/wakeable-wait.ts';
import { createFakeClock, TEST_START } from '../conformance/issuer-deps.ts';
import { settle } from '../support/pass-time.ts';

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
