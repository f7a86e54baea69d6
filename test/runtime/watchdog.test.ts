import { describe, expect, it } from 'vitest';
import { createWatchdog } from '../../src/runtime/watchdog.ts';
import { createFakeClock, TEST_START } from '../conformance/issuer-deps.ts';

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('a watchdog', () => {
  it('barks once at what is late, not at what has ended, and at what began later in its turn', async () => {
    const clock = createFakeClock(TEST_START);
    const dog = createWatchdog(clock, 1000);
    const barks: string[] = [];
    const step = async (ms: number) => {
      clock.advance(ms);
      await turn();
    };
    dog.watch(() => barks.push('first'));
    const end = dog.watch(() => barks.push('ended'));
    end();
    for (let count = 0; count < 5; count += 1) await step(100);
    dog.watch(() => barks.push('later'));
    for (let count = 0; count < 6; count += 1) await step(100);
    expect(barks).toEqual(['first']);
    for (let count = 0; count < 10; count += 1) await step(100);
    expect(barks).toEqual(['first', 'later']);
    // It slept with nothing to watch, and wakes for the next.
    await step(5000);
    dog.watch(() => barks.push('again'));
    for (let count = 0; count < 12; count += 1) await step(100);
    expect(barks).toEqual(['first', 'later', 'again']);
  });
});
