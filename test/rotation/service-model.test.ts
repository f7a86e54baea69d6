import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { CertificateRecord, Store } from '../../src/store/store.ts';
import {
  accepts,
  MESH,
  ONLINE_FOR_MS,
  type RotationWorld,
  restart,
  type SimulatedProxy,
  startRotationWorld,
  type WorldParts,
} from './rotation-world.ts';

const HISTORIES = 60;

interface Proxy extends SimulatedProxy {
  /** Ends its connection; undefined: it has none. */
  release: (() => void) | undefined;
  /** It has had all that it was given when it connected. */
  isReady: boolean;
  lastHeardMs: number;
  /** Answered, not used yet. */
  pending: CertificateRecord | undefined;
}

/** The process dies at a write to the store: before it, or after it, and does nothing more. */
function createCrashing() {
  let left = Number.POSITIVE_INFINITY;
  let isAfter = false;
  let isDead = false;
  const dead = () => Promise.reject(new Error('the process is dead'));
  const wrap = (store: Store): Store => ({
    ...store,
    getResource: (key) => (isDead ? dead() : store.getResource(key)),
    listHolders: (mesh) => (isDead ? dead() : store.listHolders(mesh)),
    async putResource(resource, options) {
      if (isDead) return dead();
      left -= 1;
      isDead = left <= 0;
      if (isDead && !isAfter) return dead();
      const stored = await store.putResource(resource, options);
      return isDead ? dead() : stored;
    },
  });
  return {
    wrap,
    arm(writes: number, after: boolean) {
      left = writes;
      isAfter = after;
    },
    get isDead() {
      return isDead;
    },
  };
}

/** A mesh whose proxies do as they like, and whose mesh-ca dies now and then. */
async function createHistory({ wrapFleets }: Pick<WorldParts, 'wrapFleets'> = {}) {
  const blind = wrapFleets && { wrapFleets };
  let crashing = createCrashing();
  let world: RotationWorld = await startRotationWorld({ wrapStore: crashing.wrap, ...blind });
  const proxies: Proxy[] = [];
  const nowMs = () => world.clock.now().getTime();
  const hear = (proxy: Proxy) => {
    proxy.lastHeardMs = nowMs();
  };
  const isLive = (proxy: Proxy) =>
    proxy.isReady && (proxy.release !== undefined || nowMs() - proxy.lastHeardMs < ONLINE_FOR_MS);

  function connect(proxy: Proxy): void {
    if (proxy.release !== undefined) return;
    proxy.isReady = isLive(proxy);
    proxy.release = world.lastSeen.hold(MESH, proxy.name);
    hear(proxy);
  }
  function disconnect(proxy: Proxy): void {
    if (proxy.release === undefined) return;
    hear(proxy);
    proxy.release();
    proxy.release = undefined;
  }
  const history = {
    proxies,
    connect,
    disconnect,
    async takeBundle(proxy: Proxy) {
      if (proxy.release !== undefined) await world.takeBundle(proxy);
    },
    async ask(proxy: Proxy) {
      if (proxy.release !== undefined && proxy.pending === undefined) proxy.pending = await world.ask(proxy);
    },
    use(proxy: Proxy) {
      if (proxy.release === undefined) return;
      world.use(proxy, proxy.pending);
      proxy.pending = undefined;
    },
    async follow(proxy: Proxy) {
      connect(proxy);
      await history.takeBundle(proxy);
      await history.ask(proxy);
      history.use(proxy);
      proxy.isReady = true;
    },
    async join() {
      if (proxies.length >= 4) return;
      const proxy: Proxy = {
        ...{ name: `p${proxies.length}`, trusts: new Set(), certificate: undefined },
        ...{ release: undefined, isReady: false, lastHeardMs: 0, pending: undefined },
      };
      proxies.push(proxy);
      await history.follow(proxy);
    },
    async pass(ms: number) {
      await world.pass(ms);
      for (const proxy of proxies) if (proxy.release !== undefined) hear(proxy);
      if (crashing.isDead) await history.restart();
    },
    async restart() {
      for (const proxy of proxies) disconnect(proxy);
      crashing = createCrashing();
      world = await restart(world, { wrapStore: crashing.wrap });
      // A connection that was cut off takes nothing from the one before.
      for (const proxy of proxies) proxy.pending = undefined;
    },
    crashSoon: (writes: number, after: boolean) => crashing.arm(writes, after),
    async put(request: object) {
      const { state, to } = await world.view().catch(() => ({ state: 'idle', to: undefined }));
      const { enabled, backends } = await world.mesh();
      const isUnderWay = state !== 'idle' && state !== 'done';
      if (!isUnderWay && backends.length < 2)
        await world.putMesh([...backends, enabled === 'ca-1' ? 'ca-2' : 'ca-1'], enabled);
      const other = enabled === 'ca-1' ? 'ca-2' : 'ca-1';
      await world.put({ ...request, to: isUnderWay && to !== undefined ? to : other }).catch(() => {});
    },
    rollBack: () => world.rollBack().catch(() => {}),
    broken(): string | undefined {
      const live = proxies.filter((proxy) => isLive(proxy));
      const now = world.clock.now();
      for (const a of live)
        for (const b of live)
          if (b.certificate !== undefined && b.certificate.notAfter > now && !accepts(a, b))
            return `${a.name} does not accept ${b.name}`;
      return undefined;
    },
    count: (message: string) => world.lines.filter((line) => line.message === message).length,
    enabled: async () => (await world.mesh()).enabled,
    close: () => world.close(),
  };
  await world.putMesh(['ca-1', 'ca-2']);
  for (let index = 0; index < 3; index += 1) await history.join();
  return history;
}

type History = Awaited<ReturnType<typeof createHistory>>;
type Happening = (history: History, who: number, x: number) => unknown;

const withProxy =
  (act: (history: History, proxy: Proxy) => unknown): Happening =>
  (history, who) => {
    const proxy = history.proxies[who % history.proxies.length];
    return proxy === undefined ? undefined : act(history, proxy);
  };

const HAPPENINGS: readonly (readonly [weight: number, act: Happening])[] = [
  [10, (history, _, x) => history.pass(Math.ceil(500 + x * 2_000))],
  [
    10,
    async (history) => {
      for (const proxy of history.proxies) await history.follow(proxy);
      await history.pass(2_500);
    },
  ],
  [3, withProxy((history, proxy) => history.follow(proxy))],
  [2, withProxy((history, proxy) => history.takeBundle(proxy))],
  [2, withProxy((history, proxy) => history.ask(proxy))],
  [2, withProxy((history, proxy) => history.use(proxy))],
  [2, withProxy((history, proxy) => history.connect(proxy))],
  [2, withProxy((history, proxy) => history.disconnect(proxy))],
  [1, (history) => history.join()],
  [3, (history) => history.put({})],
  [1, (history, who) => history.put({ paused: who % 3 === 0 })],
  [1, (history, who) => history.put({ immediate: who % 2 === 0, maxPerSecond: 1 + (who % 3) })],
  [1, (history) => history.rollBack()],
  [1, (history) => history.restart()],
  [3, (history, who, x) => history.crashSoon(1 + (who % 4), x < 0.5)],
  [1, (history, _, x) => history.pass(Math.ceil(x * 1.5 * ONLINE_FOR_MS))],
];
const CHOICES = HAPPENINGS.flatMap(([weight, act]) => Array.from({ length: weight }, () => act));

const histories = fc.array(fc.nat({ max: 0xffffff }), { minLength: 8, maxLength: 30, size: 'max' });

async function play(numbers: readonly number[], parts: Pick<WorldParts, 'wrapFleets'> = {}) {
  const history = await createHistory(parts);
  let switches = 0;
  try {
    for (const number of numbers) {
      const before = await history.enabled();
      await CHOICES[number % CHOICES.length]?.(history, number >> 8, ((number >> 12) & 0xfff) / 0x1000);
      const broken = history.broken();
      if (broken !== undefined) return { broken, switches };
      if ((await history.enabled()) !== before) switches += 1;
    }
    return { broken: undefined, switches };
  } finally {
    await history.close();
  }
}

/** Nobody is ever there. */
const nobody: NonNullable<WorldParts['wrapFleets']> = (fleets) => ({
  read: async (mesh, options) => ({ ...(await fleets.read(mesh, options)), members: [] }),
});

describe('a random history of the whole service, which dies at any write', () => {
  it(`breaks no connection between live proxies, ${HISTORIES} times`, async () => {
    let switches = 0;
    await fc.assert(
      fc.asyncProperty(histories, async (numbers) => {
        const played = await play(numbers);
        expect(played.broken).toBeUndefined();
        switches += played.switches;
      }),
      { numRuns: HISTORIES },
    );
    // The histories are worth something only if rotations get somewhere in them.
    expect(switches).toBeGreaterThan(HISTORIES / 10);
  }, 120_000);

  it('would break some if nobody looked at the data planes', async () => {
    const broken: string[] = [];
    for (const numbers of fc.sample(histories, { numRuns: 50, seed: 6 })) {
      const played = await play(numbers, { wrapFleets: nobody });
      if (played.broken !== undefined) broken.push(played.broken);
      if (broken.length > 0) break;
    }
    expect(broken).not.toEqual([]);
  }, 120_000);
});
