import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { orAborted } from '../../src/runtime/or-aborted.ts';
import { Canary, type CanaryOptions } from '../../src/validation/canary.ts';
import { createListLog } from '../support/list-log.ts';
import { calm, fakeMtls, type ProofWorld, startProofWorld } from './proof-world.ts';

const MINUTE = 60_000;
const INTERVAL = 5 * MINUTE;

let world: ProofWorld;
let canary: Canary;
beforeEach(async () => {
  world = await startProofWorld();
});
afterEach(async () => {
  await canary.close();
  await world.close();
});

function start(options: Partial<CanaryOptions> = {}): void {
  let chance = 0;
  canary = new Canary({
    ...world,
    log: createListLog(world.lines),
    // Goes through all of [0, 1) evenly.
    random: { uniform: () => (chance = (chance + 0.618034) % 1) },
    canaryIntervalMs: INTERVAL,
    canaryBilledIntervalMs: 0,
    ...options,
  });
  canary.start();
}

const begun = (what?: string) => world.begun.filter((one) => what === undefined || one.what === what);
const timesOf = (what: string) => begun(what).map(({ atMs }) => atMs);
/** Of its proofs, one after the other. */
function gapsOf(what: string): number[] {
  const times = timesOf(what);
  return times.slice(1).map((atMs, index) => atMs - (times[index] ?? 0));
}
const hang = () => new Promise<never>(() => {});

describe('the canary', () => {
  it('proves a new backend within ten seconds, then once an interval', async () => {
    await world.putMesh('m');
    start();
    await world.pass(10_000);
    expect(begun()).toHaveLength(1);
    await world.pass(10 * INTERVAL);
    const gaps = gapsOf('m/ca');
    expect(gaps.length).toBeGreaterThanOrEqual(9);
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(INTERVAL);
    expect(Math.max(...gaps)).toBeLessThanOrEqual(INTERVAL * 1.1 + 1000);
  });

  it('picks up meshes and backends that are made later, and lets go of those that go', async () => {
    start();
    await world.pass(MINUTE);
    await world.putMesh('m');
    await world.pass(10_000);
    expect(timesOf('m/ca')).toHaveLength(1);
    await world.putMesh('m', fakeMtls('fake', {}, ['ca', 'second']));
    await world.pass(10_000);
    expect([timesOf('m/ca').length, timesOf('m/second').length]).toEqual([1, 1]);
    await world.putMesh('m', fakeMtls('fake', {}, ['ca']));
    await world.pass(2 * INTERVAL);
    expect(timesOf('m/second')).toHaveLength(1);
    expect((await world.store.listResources({ type: 'BackendProof' })).items.map(({ name }) => name)).toEqual(['ca']);
    const before = begun().length;
    await world.store.deleteMesh('m');
    await world.pass(3 * INTERVAL);
    expect([begun().length, world.clock.pending]).toEqual([before, 0]);
  });

  it.each([
    { name: 'without an enabled backend', mtls: { backends: [{ name: 'ca', type: 'fake', conf: {} }] } },
    { name: 'with skipValidation', mtls: { ...fakeMtls(), skipValidation: true } },
  ])('proves the backends of a mesh $name, too', async ({ mtls }) => {
    await world.putMesh('m', mtls);
    start();
    await world.pass(10_000);
    expect(begun('m/ca')).toHaveLength(1);
  });

  it('does not prove what a PUT, or somebody who asked, has just proven', async () => {
    await world.putMesh('m');
    start();
    await world.settle();
    world.proofs.note(world.proofOf(await world.backend('m')));
    await world.pass(INTERVAL - 1);
    expect(begun()).toHaveLength(0);
    await world.proofs.prove(await world.backend('m'), calm());
    await world.pass(INTERVAL - 1);
    expect(begun()).toHaveLength(1);
    await world.pass(INTERVAL * 0.1 + 1000);
    expect(begun()).toHaveLength(2);
  });

  it('proves a backend anew soon after its conf was changed', async () => {
    await world.putMesh('m');
    start();
    await world.pass(MINUTE);
    await world.putMesh('m', fakeMtls('fake', { other: true }));
    await world.pass(10_000);
    expect(begun()).toHaveLength(2);
  });

  it('proves a backend anew soon after a secret that it reads was changed, but not again and again', async () => {
    const putSecret = (body: string) => world.store.putResource({ type: 'Secret', mesh: 'm', name: 'token', body });
    await world.putMesh('m', fakeMtls('fake', { secret: 'token' }));
    world.play = () => ['fake.login'];
    start();
    await world.pass(MINUTE);
    expect(begun()).toHaveLength(1);
    await putSecret('{"data": "right"}');
    await world.pass(10_000);
    expect(begun()).toHaveLength(2);
    for (let second = 0; second < 120; second += 1) {
      await putSecret(`{"data": "${second}"}`);
      await world.pass(1000);
    }
    expect(begun().length).toBeLessThanOrEqual(2 + 4);
  });

  it('proves a backend that fails no more often', async () => {
    await world.putMesh('m');
    world.play = () => ['fake.reachable'];
    start();
    await world.pass(10 * INTERVAL);
    expect(Math.min(...gapsOf('m/ca'))).toBeGreaterThanOrEqual(INTERVAL);
    expect(gapsOf('m/ca').length).toBeGreaterThanOrEqual(9);
  });

  it('goes on, at its pace, when proofs cannot even be made', async () => {
    await world.putMesh('m');
    world.play = () => Promise.reject(new Error('a mistake of ours'));
    start();
    await world.pass(3 * INTERVAL);
    expect(begun()).toHaveLength(3);
    expect(world.lines.filter(({ message }) => message === 'backend could not be proven')).toHaveLength(3);
  });

  it('goes on when the store does not answer for a while', async () => {
    await world.putMesh('m');
    const { listResources } = world.store;
    world.store.listResources = () => Promise.reject(new Error('locked'));
    start();
    await world.pass(MINUTE);
    expect(begun()).toEqual([]);
    world.store.listResources = listResources;
    await world.pass(20_000);
    expect(begun()).toHaveLength(1);
  });
});

describe('after a restart', () => {
  it('what was proven less than an interval ago is not proven again before', async () => {
    await world.putMesh('m');
    start();
    await world.pass(10_000);
    const [first = 0] = timesOf('m/ca');
    await canary.close();
    world = await world.restart();
    start();
    await world.pass(2 * INTERVAL);
    expect((timesOf('m/ca')[0] ?? 0) - first).toBeGreaterThanOrEqual(INTERVAL);
    expect((timesOf('m/ca')[0] ?? 0) - first).toBeLessThanOrEqual(INTERVAL * 1.1 + 1000);
  });

  it('what was proven long ago is proven within an interval', async () => {
    await world.putMesh('m');
    world.proofs.note(world.proofOf(await world.backend('m')));
    await world.settle();
    world = await world.restart();
    world.clock.advance(10 * INTERVAL);
    start();
    await world.pass(INTERVAL + 1000);
    expect(begun()).toHaveLength(1);
  });
});

describe('backends where every certificate is billed', () => {
  it('are not proven by default', async () => {
    await world.putMesh('m', fakeMtls('billed'));
    start();
    await world.pass(10 * INTERVAL);
    expect([begun(), world.clock.pending]).toEqual([[], 0]);
  });

  it('have an interval of their own', async () => {
    await world.putMesh('dear', fakeMtls('billed'));
    await world.putMesh('m');
    start({ canaryBilledIntervalMs: 10 * INTERVAL });
    await world.pass(10 * INTERVAL);
    expect([timesOf('dear/ca').length, timesOf('m/ca').length >= 9]).toEqual([1, true]);
  });

  it('are proven alone where the others are not', async () => {
    await world.putMesh('dear', fakeMtls('billed'));
    await world.putMesh('m');
    start({ canaryIntervalMs: 0, canaryBilledIntervalMs: INTERVAL });
    await world.pass(10_000);
    expect(begun().map(({ what }) => what)).toEqual(['dear/ca']);
  });

  it('switched off like all others, nothing is done at all', async () => {
    await world.putMesh('m');
    start({ canaryIntervalMs: 0 });
    await world.pass(10 * INTERVAL);
    expect([begun(), world.clock.pending]).toEqual([[], 0]);
  });
});

describe('a thousand backends', () => {
  const COUNT = 1000;
  const FAIR = COUNT / (INTERVAL / 1000);
  const busiestSecond = (from: number) => {
    const seconds = new Map<number, number>();
    for (const { atMs } of world.begun.slice(from)) {
      const second = Math.floor(atMs / 1000);
      seconds.set(second, (seconds.get(second) ?? 0) + 1);
    }
    return Math.max(...seconds.values());
  };
  const putAll = async () => {
    for (let index = 0; index < COUNT; index += 1) await world.putMesh(`m-${index}`);
  };

  it('made at the same time do not come together again', async () => {
    await putAll();
    start();
    await world.pass(10_000);
    expect(begun()).toHaveLength(COUNT);
    // Within ten seconds: a hundred a second.
    expect(busiestSecond(0)).toBeLessThanOrEqual(3 * (COUNT / 10));
    await world.pass(INTERVAL * 1.6);
    expect(begun().length).toBeGreaterThanOrEqual(2 * COUNT);
    expect(busiestSecond(COUNT)).toBeLessThanOrEqual(3 * FAIR);
  });

  it('of which all are due after a long stop do not come together', async () => {
    await putAll();
    for (let index = 0; index < COUNT; index += 1) {
      world.proofs.note(world.proofOf(await world.backend(`m-${index}`)));
    }
    world.clock.advance(100 * INTERVAL);
    start();
    await world.pass(INTERVAL + 60_000);
    expect(new Set(begun().map(({ what }) => what)).size).toBe(COUNT);
    expect(busiestSecond(0)).toBeLessThanOrEqual(3 * FAIR);
  });
});

describe('proofs that hang', () => {
  it('are four at once at most, two when they have failed before, so that the others are proven in time', async () => {
    for (let index = 0; index < 80; index += 1) await world.putMesh(`dead-${index}`);
    await world.putMesh('well');
    let most = 0;
    world.play = ({ mesh }, { signal }) => {
      most = Math.max(most, world.running);
      return mesh === 'well' ? true : orAborted(hang(), signal);
    };
    start({ random: { uniform: () => 0 } });
    await world.pass(10 * INTERVAL);
    expect(most).toBe(4);
    // At first nobody knows yet that the others hang.
    const gaps = gapsOf('well/ca').slice(1);
    expect(gaps.length).toBeGreaterThanOrEqual(7);
    expect(Math.max(...gaps)).toBeLessThanOrEqual(INTERVAL + 2000);
  });
});

describe('close', () => {
  it('ends what is under way and leaves nothing', async () => {
    for (let index = 0; index < 10; index += 1) await world.putMesh(`m-${index}`);
    world.play = () => hang();
    const { onChange } = world.store;
    let listeners = 0;
    world.store.onChange = (listener) => {
      const stop = onChange(listener);
      listeners += 1;
      return () => {
        listeners -= 1;
        stop();
      };
    };
    start();
    await world.pass(10_000);
    expect([world.running, listeners]).toEqual([4, 1]);
    await canary.close();
    expect(listeners).toBe(0);
    await world.proofs.close();
    expect(world.clock.pending).toBe(0);
    const before = begun().length;
    await world.putMesh('later');
    await world.pass(2 * INTERVAL);
    expect(begun()).toHaveLength(before);
  });

  it('may come before the start, and twice', async () => {
    start();
    await canary.close();
    canary.start();
    await canary.close();
    expect(world.clock.pending).toBe(0);
  });
});
