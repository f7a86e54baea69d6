import { describe, expect, it } from 'vitest';
import { createOneAtATime } from '../../src/rotation/one-at-a-time.ts';

describe('work', () => {
  it('on one key is done one after the other, also after one that failed; others do not wait', async () => {
    const lines = createOneAtATime();
    const order: string[] = [];
    let open = () => {};
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    const first = lines.run('a', async () => {
      await gate;
      order.push('a1');
      throw new Error('failed');
    });
    const second = lines.run('a', async () => void order.push('a2'));
    await lines.run('b', async () => void order.push('b1'));
    open();
    await expect(first).rejects.toThrow('failed');
    await second;
    await lines.idle();
    expect(order).toEqual(['b1', 'a1', 'a2']);
  });
});
