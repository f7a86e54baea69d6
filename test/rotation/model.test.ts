import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Crash, ModelMesh, ONLINE_MS, type Sabotage } from './model-mesh.ts';

const HISTORIES = 10_000;

/** What may happen; `who` chooses a proxy, `x` is a number in [0, 1). Those at the front are the most common. */
type Happening = (mesh: ModelMesh, who: number, x: number) => void;

const CRASHES: readonly Crash[] = ['before the record', 'before the effect', 'after the effect'];
const pick = <T>(list: readonly T[], x: number): T | undefined => list[Math.floor(x * list.length)];
const proxyOf = (mesh: ModelMesh, who: number) => mesh.proxies[who % Math.max(1, mesh.proxies.length)];
const withProxy =
  (act: (mesh: ModelMesh, proxy: ModelMesh['proxies'][number], x: number) => void): Happening =>
  (mesh, who, x) => {
    const proxy = proxyOf(mesh, who);
    if (proxy !== undefined) act(mesh, proxy, x);
  };
/** As a good SDS session does it all at once. */
const follow = (mesh: ModelMesh, proxy: ModelMesh['proxies'][number], x: number) => {
  mesh.connect(proxy);
  mesh.takeBundle(proxy, x);
  mesh.ask(proxy);
  mesh.takeCertificate(proxy, x);
};
const followAll: Happening = (mesh, _, x) => {
  for (const proxy of mesh.proxies) follow(mesh, proxy, x);
};
const turns: Happening = (mesh, _, x) => {
  mesh.turn();
  mesh.pass(1_000 + x * 200);
  mesh.turn();
};

const HAPPENINGS: readonly (readonly [weight: number, act: Happening])[] = [
  [12, turns],
  [12, followAll],
  [5, withProxy(follow)],
  [3, withProxy((mesh, proxy, x) => mesh.takeBundle(proxy, x))],
  [3, withProxy((mesh, proxy) => mesh.ask(proxy))],
  [3, withProxy((mesh, proxy, x) => mesh.takeCertificate(proxy, x))],
  [3, (mesh, _, x) => mesh.pass(Math.ceil(x * 3_000))],
  [3, (mesh) => mesh.turn()],
  [3, (mesh) => mesh.put({})],
  [2, withProxy((mesh, proxy) => mesh.connect(proxy))],
  [2, withProxy((mesh, proxy) => mesh.disconnect(proxy))],
  [2, (mesh) => mesh.join()],
  [1, (mesh) => mesh.rollBack()],
  [1, (mesh, _, x) => mesh.turn(pick(CRASHES, x))],
  [1, (mesh) => mesh.crash()],
  [1, (mesh, _, x) => mesh.pass(Math.ceil(x * 2 * ONLINE_MS))],
  [1, (mesh, who) => mesh.put({ paused: who % 3 === 0 })],
  [1, (mesh, who, x) => mesh.put({ maxPerSecond: 1 + Math.floor(x * 3), keepOld: who % 3 === 0 })],
  [1, (mesh, who) => mesh.put({ immediate: who % 2 === 0 })],
  [1, (mesh, who) => mesh.addRoot(who % 2 === 0 ? 'a' : 'b')],
];
const CHOICES = HAPPENINGS.flatMap(([weight, act]) => Array.from({ length: weight }, () => act));

/** Three numbers for each: which, who, x. */
const histories = fc.array(fc.nat({ max: 0xffffff }), { minLength: 10, maxLength: 40, size: 'max' });

function play(
  history: readonly number[],
  sabotage?: Sabotage,
): { readonly mesh: ModelMesh; readonly broken: string | undefined } {
  const mesh = new ModelMesh(sabotage);
  for (let index = 0; index < 3; index += 1) mesh.join();
  for (const proxy of mesh.proxies) follow(mesh, proxy, 0);
  for (const number of history) {
    CHOICES[number % CHOICES.length]?.(mesh, number >> 8, ((number >> 12) & 0xfff) / 0x1000);
    const broken = mesh.broken();
    if (broken !== undefined) return { mesh, broken };
  }
  return { mesh, broken: undefined };
}

/** Whether one of so many histories breaks a connection. */
function breaks(count: number, sabotage: Sabotage): boolean {
  return fc
    .sample(histories, { numRuns: count, seed: 6 })
    .some((history) => play(history, sabotage).broken !== undefined);
}

describe('a random history of a mesh that is rotated', () => {
  it(`breaks no connection between live proxies, ${HISTORIES} times`, () => {
    const total = { done: 0, rolledBack: 0, switched: 0, removed: 0, restored: 0, crashes: 0 };
    fc.assert(
      fc.property(histories, (history) => {
        const { mesh, broken } = play(history);
        for (const key of Object.keys(total) as (keyof typeof total)[]) total[key] += mesh.counts[key];
        expect(broken).toBeUndefined();
      }),
      { numRuns: HISTORIES },
    );
    // The histories are worth something only if rotations get somewhere in them.
    for (const [what, count] of Object.entries(total))
      expect({ what, isOften: count > 20, count }).toMatchObject({ isOften: true });
  }, 120_000);

  it.each([
    ['the validators', { withoutValidators: true }],
    ['the second reading', { withoutSecondReading: true }],
    ['the rule for those not heard of since the start', { withoutUnheard: true }],
  ] as const)('would break some without %s', (_, sabotage) => {
    expect(breaks(5_000, sabotage)).toBe(true);
  });
});
