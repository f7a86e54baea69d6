import { describe, expect, it } from 'vitest';
import { silentLog } from '../../src/runtime/log.ts';
import { createMemoryStore } from '../../src/store/memory/memory-store.ts';
import { createHolders } from '../../src/trust/holders.ts';
import { createFakeClock, TEST_START } from '../conformance/issuer-deps.ts';

async function start() {
  const clock = createFakeClock(TEST_START);
  const store = createMemoryStore({ clock });
  await store.putResource({ type: 'Mesh', mesh: '', name: 'm', body: '{}' });
  const holders = createHolders({ store, clock, log: silentLog });
  const told: string[] = [];
  const stop = holders.onChange((mesh) => told.push(mesh));
  return { clock, store, holders, told, stop };
}

const NO_BUNDLE = { what: 'trust bundle', version: '7', message: 'no start line' } as const;
const NO_CERTIFICATE = { what: 'certificate', version: '0a', message: 'key does not match' } as const;

describe('a trust bundle that a data plane accepts', () => {
  it('is its statement, durable, with the time of the clock', async () => {
    const { store, holders, told } = await start();
    await holders.accepted('m', 'web', 7);
    const statement = { mesh: 'm', dataplane: 'web', bundleVersion: 7, statedAt: TEST_START };
    expect(await store.getTrustStatement('m', 'web')).toEqual(statement);
    expect(told).toEqual(['m']);
  });

  it('is nothing when the mesh is gone', async () => {
    const { holders, told } = await start();
    await holders.accepted('gone', 'web', 7);
    expect(told).toEqual([]);
  });

  it('is told to the caller when the store does not take it', async () => {
    const { store, holders, told } = await start();
    await store.close();
    await expect(holders.accepted('m', 'web', 7)).rejects.toThrow('the store is closed');
    expect(told).toEqual([]);
  });
});

describe('what a data plane refuses', () => {
  it('stands, with its time, until it refuses something else', async () => {
    const { clock, holders, told } = await start();
    holders.refused('m', 'web', NO_BUNDLE);
    clock.advance(1000);
    expect(holders.refusal('m', 'web')).toEqual({ ...NO_BUNDLE, at: TEST_START });
    holders.refused('m', 'web', NO_CERTIFICATE);
    expect(holders.refusal('m', 'web')).toEqual({ ...NO_CERTIFICATE, at: clock.now() });
    expect(holders.refusal('m', 'other')).toBeUndefined();
    expect(told).toEqual(['m', 'm']);
  });

  it('is forgotten when it takes the same kind of thing, and not when it takes another', async () => {
    const { holders } = await start();
    holders.refused('m', 'web', NO_BUNDLE);
    holders.uses('m', 'web', '0b');
    expect(holders.refusal('m', 'web')).toBeDefined();
    await holders.accepted('m', 'web', 8);
    expect(holders.refusal('m', 'web')).toBeUndefined();
    holders.refused('m', 'web', NO_CERTIFICATE);
    await holders.accepted('m', 'web', 9);
    expect(holders.refusal('m', 'web')).toBeDefined();
    holders.uses('m', 'web', '0a');
    expect(holders.refusal('m', 'web')).toBeUndefined();
  });

  it('does not change what it uses', async () => {
    const { holders } = await start();
    holders.sent('m', 'web', '0a');
    holders.refused('m', 'web', NO_CERTIFICATE);
    expect(holders.useOf('m', 'web', '0a')).toBe('pending');
  });
});

describe('the use of a certificate', () => {
  type Act = readonly ['sent' | 'uses', string];
  const cases: Readonly<Record<string, { acts: readonly Act[]; asked: string; use: string }>> = {
    'is unknown when nothing was said': { acts: [], asked: '02', use: 'unknown' },
    'is pending while it is on its way': { acts: [['sent', '02']], asked: '02', use: 'pending' },
    'is confirmed by the ACK': {
      acts: [
        ['sent', '02'],
        ['uses', '02'],
      ],
      asked: '02',
      use: 'confirmed',
    },
    'is confirmed over HTTP, where nothing is sent before': { acts: [['uses', '02']], asked: '02', use: 'confirmed' },
    'is pending when a newer one than asked for is on its way': { acts: [['sent', '03']], asked: '02', use: 'pending' },
    'is pending over SDS until the newer one is acknowledged, too': {
      acts: [
        ['sent', '01'],
        ['uses', '01'],
      ],
      asked: '02',
      use: 'pending',
    },
    'is pending when the ACK is that of the one before': {
      acts: [
        ['sent', '01'],
        ['sent', '02'],
        ['uses', '01'],
      ],
      asked: '02',
      use: 'pending',
    },
    'is unknown over HTTP when the newer one was answered since': {
      acts: [['uses', '01']],
      asked: '02',
      use: 'unknown',
    },
  };
  it.each(Object.entries(cases))('%s', async (_, { acts, asked, use }) => {
    const { holders, told } = await start();
    for (const [act, serialNumber] of acts) holders[act]('m', 'web', serialNumber);
    expect(holders.useOf('m', 'web', asked)).toBe(use);
    expect(holders.useOf('m', 'other', asked)).toBe('unknown');
    expect(told).toEqual(acts.map(() => 'm'));
  });

  it('of another one is told with its time', async () => {
    const { clock, holders } = await start();
    expect(holders.usesOther('m', 'web', '02')).toBeUndefined();
    holders.sent('m', 'web', '01');
    expect(holders.usesOther('m', 'web', '02')).toBeUndefined();
    clock.advance(1000);
    holders.uses('m', 'web', '01');
    expect(holders.usesOther('m', 'web', '02')).toEqual(clock.now());
    expect(holders.usesOther('m', 'web', '01')).toBeUndefined();
  });
});

describe('a data plane that is gone', () => {
  it('leaves nothing to one of the same name, and nobody else loses anything', async () => {
    const { holders, told } = await start();
    for (const name of ['web', 'other']) {
      holders.sent('m', name, '01');
      holders.refused('m', name, NO_BUNDLE);
    }
    holders.forget('m', 'web');
    expect(holders.refusal('m', 'web')).toBeUndefined();
    expect(holders.useOf('m', 'web', '02')).toBe('unknown');
    expect(holders.refusal('m', 'other')).toBeDefined();
    expect(told).toHaveLength(5);
  });
});

describe('who wants to hear of changes', () => {
  it('hears of them until he has enough', async () => {
    const { holders, told, stop } = await start();
    holders.sent('m', 'web', '01');
    stop();
    stop();
    holders.uses('m', 'web', '01');
    expect(told).toEqual(['m']);
  });
});

describe('what is remembered', () => {
  it('has a bound: the one changed longest ago goes first', async () => {
    const clock = createFakeClock(TEST_START);
    const holders = createHolders({ store: createMemoryStore({ clock }), clock, log: silentLog, most: 2 });
    for (const name of ['a', 'b', 'a', 'c']) holders.uses('m', name, '01');
    expect(['a', 'b', 'c'].map((name) => holders.useOf('m', name, '01'))).toEqual([
      'confirmed',
      'unknown',
      'confirmed',
    ]);
  });
});
