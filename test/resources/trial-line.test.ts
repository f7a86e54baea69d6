import { beforeEach, describe, expect, it } from 'vitest';
import { RateLimitedError } from '../../src/issuer/errors.ts';
import { createTrialLine, type TrialLine } from '../../src/resources/trial-line.ts';
import { createFakeClock, type FakeClock, TEST_START } from '../conformance/issuer-deps.ts';

const ALL = 64;

let clock: FakeClock;
let line: TrialLine;
let running: string[];
let end: Map<string, () => void>;
beforeEach(() => {
  clock = createFakeClock(TEST_START);
  line = createTrialLine({ clock });
  running = [];
  end = new Map();
});

const turns = () => new Promise((resolve) => setImmediate(resolve));

async function start(name: string, count: number, signal = new AbortController().signal): Promise<unknown> {
  const outcome = line
    .run(count, { signal }, async () => {
      running.push(name);
      await new Promise<void>((resolve) => end.set(name, resolve));
      running = running.filter((one) => one !== name);
      return name;
    })
    .catch((error: unknown) => error);
  await turns();
  return outcome;
}

describe('the line of those who try backends', () => {
  it('lets in as many as there is room for, the large ones in their turn', async () => {
    void start('half', ALL / 2);
    void start('whole', ALL);
    void start('small', 1);
    await turns();
    expect(running).toEqual(['half']);
    end.get('half')?.();
    await turns();
    expect(running).toEqual(['whole']);
    end.get('whole')?.();
    await turns();
    expect(running).toEqual(['small']);
  });

  it('makes room when what was tried has failed', async () => {
    const failing = line.run(ALL, { signal: new AbortController().signal }, async () => {
      throw new Error('broken');
    });
    await expect(failing).rejects.toThrow('broken');
    void start('next', ALL);
    await turns();
    expect(running).toEqual(['next']);
  });

  it('sends away who has waited for long, says when to come back, and leaves no timer', async () => {
    void start('whole', ALL);
    const late = start('late', 1);
    await turns();
    clock.advance(20_000);
    const error = await late;
    expect(error).toBeInstanceOf(RateLimitedError);
    expect(error).toMatchObject({ retryAfterMs: 20_000, fix: expect.any(String) });
    expect(clock.pending).toBe(0);
  });

  it('forgets who gives up, with what it had of its places', async () => {
    const leaving = new AbortController();
    void start('half', ALL / 2);
    const gone = start('gone', ALL, leaving.signal);
    await turns();
    leaving.abort(new Error('gone'));
    expect(await gone).toBe(leaving.signal.reason);
    void start('other half', ALL / 2);
    await turns();
    expect(running).toEqual(['half', 'other half']);
    expect(clock.pending).toBe(0);
  });
});
