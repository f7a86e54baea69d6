import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Backend } from '../../src/backends/backend.ts';
import { createFakeClock, type FakeClock } from '../conformance/issuer-deps.ts';
import { caDer, createTrustWorld, type Instance, live, MESH, prints, settled, type TrustWorld } from './trust-world.ts';

const A = { name: 'a', type: 'up' };
const [OLD, NEW] = [await caDer('old'), await caDer('new')];

let clock: FakeClock;
let world: TrustWorld;
let instance: Instance;
/** How many do not trust the newest version yet; an error: nobody can tell. */
let lacking: number | Error;
let asked: { readonly version: number; readonly atMs: number }[];

beforeEach(async () => {
  clock = createFakeClock(new Date());
  world = await createTrustWorld(clock);
  world.upstream.up.roots = [OLD];
  [lacking, asked] = [1, []];
  instance = world.start({
    async countLacking(_mesh, version, { signal }) {
      signal.throwIfAborted();
      asked.push({ version, atMs: clock.monotonicMs() });
      if (lacking instanceof Error) throw lacking;
      return lacking;
    },
  });
  await world.put(A);
  await instance.roots();
});
afterEach(() => instance.close());

/** A certificate that ends in this root is about to be handed out. */
async function handOut(root: Buffer, { signal } = live(), name = 'a') {
  const from = await instance.backends.get(MESH);
  const backend = from.backends.get(name);
  if (backend === undefined) throw new Error(`no backend ${name}`);
  return startHandOut(from, backend, root, signal);
}
function startHandOut(
  from: Parameters<Instance['bundles']['include']>[0],
  backend: Backend,
  root: Buffer,
  signal: AbortSignal,
) {
  const state: { at: number | undefined; roots: readonly string[]; error: unknown } = {
    at: undefined,
    roots: [],
    error: undefined,
  };
  instance.bundles.include(from, backend, [root], { signal }).then(
    ({ fingerprints }) => {
      state.at = clock.monotonicMs();
      state.roots = [...fingerprints].sort();
    },
    (error: unknown) => {
      state.error = error;
    },
  );
  return state;
}
const warnings = () => instance.log.filter(({ level }) => level === 'warn');

describe('a certificate under a root that nobody announced', () => {
  it('waits until every data plane that is there trusts it, and no longer', async () => {
    const one = await handOut(NEW);
    await world.pass(3_000);
    expect([one.at, await world.storedRoots()]).toEqual([undefined, prints(OLD, NEW)]);
    lacking = 0;
    await world.pass(250);
    expect(one).toMatchObject({ at: 3_250, roots: prints(OLD, NEW), error: undefined });
    expect(new Set(asked.map(({ version }) => version))).toEqual(new Set([2]));
    expect(warnings()).toEqual([]);
  });

  it('waits for at most 10 s, and one warning says how many were not ready', async () => {
    lacking = 7;
    const all = await Promise.all(Array.from({ length: 100 }, () => handOut(NEW)));
    await world.pass(9_900);
    expect(all.filter(({ at }) => at !== undefined)).toEqual([]);
    await world.pass(100);
    expect(new Set(all.map(({ at }) => at))).toEqual(new Set([10_000]));
    expect(warnings()).toEqual([
      expect.objectContaining({ mesh: MESH, backend: 'a', type: 'up', version: 2, notReady: 7 }),
    ]);
    expect(asked.length).toBeLessThanOrEqual(41);
    const later = await handOut(NEW);
    await settled();
    expect(later.at).toBe(10_000);
  });

  it('waits for at most half of what one certificate may take', async () => {
    await world.put({ ...A, dpCert: { rotation: { expiration: '1d' }, requestTimeout: '4s' } });
    await instance.roots();
    const one = await handOut(NEW);
    await world.pass(2_000);
    expect(one.at).toBe(2_000);
  });

  it('waits, though nobody can tell who is ready, and the warning says so', async () => {
    lacking = new Error('the store is broken');
    const one = await handOut(NEW);
    await world.pass(10_000);
    expect([one.at, warnings()]).toEqual([10_000, [expect.objectContaining({ notReady: 'unknown' })]]);
  });

  it('waits though the root was found by asking the backend a moment before', async () => {
    world.upstream.up.roots = [OLD, NEW];
    while ((await world.storedRoots()).length === 1) await world.pass(1_000);
    const joinedAt = clock.monotonicMs();
    const one = await handOut(NEW);
    await world.pass(9_999);
    expect(one.at).toBe(undefined);
    await world.pass(1);
    expect(one.at).toBe(joinedAt + 10_000);
  });

  it('is not handed out to who has gone meanwhile; the others still wait', async () => {
    const gone = new AbortController();
    const one = await handOut(NEW, { signal: gone.signal });
    const other = await handOut(NEW);
    await world.pass(1_000);
    gone.abort(new Error('gone'));
    await settled();
    expect([one.error, other.at]).toEqual([new Error('gone'), undefined]);
    await world.pass(9_000);
    expect(other.at).toBe(10_000);
  });

  it('does not wait when mesh-ca stops', async () => {
    const one = await handOut(NEW);
    await world.pass(1_000);
    await instance.close();
    await settled();
    expect([one.at, clock.pending, warnings()]).toEqual([1_000, 0, []]);
  });
});

describe('nothing waits', () => {
  it('under a root that stood in the bundle before, whoever lacks it', async () => {
    const one = await handOut(OLD);
    await settled();
    expect([one.at, asked]).toEqual([0, []]);
  });

  it('under a root that joined longer ago than anybody waits', async () => {
    await instance.bundles.learn(MESH, 'a', [NEW], live());
    await world.pass(10_000);
    const one = await handOut(NEW);
    await settled();
    expect([one.at, asked]).toEqual([10_000, []]);
  });

  it('under the old root while the new one is held back', async () => {
    const [one, other] = [await handOut(NEW), await handOut(OLD)];
    await settled();
    expect([one.at, other.at]).toEqual([undefined, 0]);
  });

  it('of a backend that has joined the mesh: a rotation sees to it', async () => {
    world.upstream.other.roots = [NEW];
    await world.put({ name: 'b', type: 'other' }, A);
    expect(await instance.roots()).toEqual(prints(OLD, NEW));
    const one = await handOut(NEW, live(), 'b');
    await settled();
    expect([one.at, asked]).toEqual([0, []]);
  });

  it('in a mesh that has given out no bundle yet', async () => {
    await world.store.deleteMesh(MESH);
    const fresh = await createTrustWorld(clock);
    fresh.upstream.up.roots = [OLD];
    const first = fresh.start({ countLacking: async () => 1 });
    await fresh.put(A);
    const from = await first.backends.get(MESH);
    const backend = from.enabled;
    if (backend === undefined) throw new Error('no backend');
    expect((await first.bundles.include(from, backend, [OLD], live())).version).toBe(1);
    await first.close();
  });
});

describe('the gate after a restart', () => {
  it('holds back a root that changed while mesh-ca was down', async () => {
    await instance.close();
    let ready = false;
    instance = world.start({ countLacking: async () => (ready ? 0 : 1) });
    world.upstream.up.roots = [NEW];
    await instance.roots();
    const one = await handOut(NEW);
    await world.pass(1_000);
    expect(one.at).toBe(undefined);
    ready = true;
    await world.pass(250);
    expect(one.roots).toEqual(expect.arrayContaining(prints(NEW)));
  });
});
