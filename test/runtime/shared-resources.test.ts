import { describe, expect, it } from 'vitest';
import { createSharedResources } from '../../src/runtime/shared-resources.ts';

function createCounter() {
  const events: string[] = [];
  const create = (name: string) => () => {
    events.push(`open ${name}`);
    return { name, close: () => void events.push(`close ${name}`) };
  };
  return { events, create };
}

describe('shared resources', () => {
  it('are made for the first holder, and closed after the last', async () => {
    const { events, create } = createCounter();
    const shared = createSharedResources();
    const first = shared.acquire('vault:a', create('one'));
    const second = shared.acquire('vault:a', create('never'));
    expect(second.value).toBe(first.value);
    await first.release();
    expect(events).toEqual(['open one']);
    await second.release();
    expect(events).toEqual(['open one', 'close one']);
  });

  it('count a holder that releases twice once', async () => {
    const { events, create } = createCounter();
    const shared = createSharedResources();
    const first = shared.acquire('a', create('one'));
    const second = shared.acquire('a', create('never'));
    await first.release();
    await first.release();
    expect(events).toEqual(['open one']);
    await second.release();
    expect(events).toEqual(['open one', 'close one']);
  });

  it('are new for who comes while the last value still closes', async () => {
    const shared = createSharedResources();
    let finishClosing: () => void = () => {};
    const closing = new Promise<void>((resolve) => {
      finishClosing = resolve;
    });
    const old = shared.acquire('a', () => ({ close: () => closing }));
    const released = old.release();
    const next = shared.acquire('a', () => ({ close: () => {} }));
    expect(next.value).not.toBe(old.value);
    finishClosing();
    await released;
    expect(shared.acquire('a', () => ({ close: () => {} })).value).toBe(next.value);
  });

  it('leave nothing under a key whose value could not be made', () => {
    const shared = createSharedResources();
    const fails = () => {
      throw new Error('no');
    };
    expect(() => shared.acquire('a', fails)).toThrow('no');
    expect(shared.acquire('a', () => ({ close: () => {}, fine: true })).value.fine).toBe(true);
  });
});
