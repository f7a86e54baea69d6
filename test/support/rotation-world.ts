import { createFakeClock, type FakeClock } from '../conformance/issuer-deps.ts';
import { type HttpDataplane, startHttpDataplane } from './http-dataplane.ts';
import { settle, turnUntil } from './pass-time.ts';
import { type Answer, builtinMesh, type Json, startTestApp, type TestApp } from './test-app.ts';

const caOf = (name: string) => ({ name, type: 'builtin', conf: { caCert: { keyType: 'EC-P256' } } });
export const CA_1 = caOf('ca-1');
export const CA_2 = caOf('ca-2');
export const ROTATION_PATH = '/meshes/default/_rotation';
/** More turns than any rotation of a handful takes. */
const MOST_TURNS = 60;

export const meshOf = (enabledBackend: string, backends: readonly object[], more: object = {}): object =>
  builtinMesh('default', { enabledBackend, backends, ...more });
export const plain = (value: unknown) => JSON.parse(JSON.stringify(value ?? null));
export const statesOf = (shown: Json): string[] => plain(shown.steps).map(({ state }: { state: string }) => state);
export const isState =
  (state: string) =>
  (shown: Json): boolean =>
    String(shown.state) === state;

/** A mesh-ca whose clock the test turns, and five data planes of two services on ca-1; ca-2 was added, which they have not heard of yet. */
export class RotationWorld {
  readonly clock: FakeClock;
  readonly #flags: Readonly<Record<string, unknown>>;
  test: TestApp;
  planes: readonly HttpDataplane[] = [];

  static async start(flags: Readonly<Record<string, unknown>> = {}): Promise<RotationWorld> {
    const clock = createFakeClock(new Date('2026-11-22T00:00:00Z'));
    const world = new RotationWorld(clock, flags, await startTestApp(flags, { clock }));
    const { test } = world;
    await test.ok('PUT', '/meshes/default', meshOf('ca-1', [CA_1]));
    const names = ['web-1', 'web-2', 'web-3', 'db-1', 'db-2'];
    world.planes = await Promise.all(names.map((name) => startHttpDataplane(test, 'default', name)));
    await test.ok('PUT', '/meshes/default', meshOf('ca-1', [CA_1, CA_2]));
    return world;
  }

  private constructor(clock: FakeClock, flags: Readonly<Record<string, unknown>>, test: TestApp) {
    this.clock = clock;
    this.#flags = flags;
    this.test = test;
  }

  async view(): Promise<Json> {
    return (await this.test.ok('GET', ROTATION_PATH)).json;
  }

  rotate(request: object): Promise<Answer> {
    return this.test.request('PUT', ROTATION_PATH, request);
  }

  async backends(): Promise<{ readonly enabled: string; readonly all: readonly string[] }> {
    const { json } = await this.test.ok('GET', '/meshes/default');
    const all = plain(json.mtls?.backends).map(({ name }: { name: string }) => name);
    return { enabled: String(json.mtls?.enabledBackend), all };
  }

  /** One data plane goes away: after `dataplaneOnlineFor` of 10 s it is offline, with a certificate that lives on. */
  async loseOne(): Promise<void> {
    this.planes = this.planes.filter(({ name }) => name !== 'db-2');
    this.clock.advance(11_000);
    for (const plane of this.planes) await plane.live(this.test);
  }

  /**
   * Turns the clock, a second at a time; all data planes but the silent ones live on. Ends when the rotation is as it should be.
   * @throws Error when a connection between two of them would break, or it takes too long
   */
  async until(isThere: (shown: Json) => boolean, silent: readonly string[] = []): Promise<Json> {
    for (let turns = 0; turns < MOST_TURNS; turns += 1) {
      const shown = await this.view();
      this.#requireTrust();
      if (isThere(shown)) return shown;
      this.clock.advance(1000);
      await settle();
      const living = this.planes.filter(({ name }) => !silent.includes(name));
      await Promise.all(living.map((plane) => plane.live(this.test)));
    }
    throw new Error(`still ${JSON.stringify(await this.view())}`);
  }

  /** Some turns in which nothing should happen. */
  async waitInVain(turns: number, silent: readonly string[] = []): Promise<void> {
    let left = turns;
    await this.until(() => left-- <= 0, silent);
  }

  /** Ends mesh-ca and starts it on the same store. */
  async restart(): Promise<void> {
    await this.close();
    this.test = await startTestApp(this.#flags, { clock: this.clock });
  }

  close(): Promise<void> {
    return turnUntil(this.clock, this.test.close());
  }

  #requireTrust(): void {
    for (const one of this.planes) {
      const refused = this.planes.find((other) => !one.trusts(other));
      if (refused !== undefined) throw new Error(`${one.name} refuses ${refused.name}`);
    }
  }
}

/** How each state is reached so that it lasts for some turns; `dataplaneOnlineFor` has to be 10 s. */
export const REACH: readonly { readonly state: string; reach(world: RotationWorld): Promise<void> }[] = [
  {
    state: 'trusting',
    async reach(world) {
      await world.rotate({ to: 'ca-2' });
    },
  },
  {
    state: 'switching',
    async reach(world) {
      await world.rotate({ to: 'ca-2', maxPerSecond: 1 });
      await world.until(isState('switching'));
    },
  },
  {
    state: 'draining',
    async reach(world) {
      await world.loseOne();
      await world.rotate({ to: 'ca-2' });
      await world.until(isState('draining'));
    },
  },
  {
    state: 'removing',
    async reach(world) {
      await world.rotate({ to: 'ca-2' });
      await world.until(isState('draining'));
      // It does not take the last bundle.
      await world.until(isState('removing'), ['web-3']);
    },
  },
];
