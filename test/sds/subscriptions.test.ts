import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { XdsRequest } from '../../src/sds/read-request.ts';
import { type Mode, type Sending, Subscriptions } from '../../src/sds/subscriptions.ts';
import {
  bundleVersionOf,
  joinVersions,
  KINDS,
  type Kind,
  splitVersions,
  trustVersion,
} from '../../src/sds/versions.ts';

const NAMES: Readonly<Record<Kind, string>> = { trust: 'mesh_ca', identity: 'identity_cert' };
const versionOf = (kind: Kind, n: number) =>
  kind === 'trust' ? trustVersion(n, `pem ${n}`) : `c${String(n).padStart(4, '0')}`;

const request = (more: Partial<XdsRequest>): XdsRequest => ({
  ...{ node: undefined, nonce: '', refusal: undefined, holds: '', names: [] },
  ...{ subscribe: [], unsubscribe: [], initial: new Map() },
  ...more,
});

type Step =
  | { readonly do: 'change'; readonly kind: Kind }
  | { readonly do: 'send' }
  | { readonly do: 'deliver'; readonly refuse: boolean }
  | { readonly do: 'answer' }
  | { readonly do: 'wants'; readonly kind: Kind; readonly wants: boolean }
  | { readonly do: 'noise'; readonly nonce: string; readonly refuse: boolean }
  | { readonly do: 'wait' };

const kind = fc.constantFrom(...KINDS);
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ do: fc.constant('change' as const), kind }),
  fc.record({ do: fc.constant('send' as const) }),
  fc.record({ do: fc.constant('deliver' as const), refuse: fc.boolean() }),
  fc.record({ do: fc.constant('answer' as const) }),
  fc.record({ do: fc.constant('wants' as const), kind, wants: fc.boolean() }),
  fc.record({
    do: fc.constant('noise' as const),
    nonce: fc.constantFrom('', '0', '1', '2', '99', 'x'),
    refuse: fc.boolean(),
  }),
  fc.record({ do: fc.constant('wait' as const) }),
);

/** A proxy that behaves, the wire to it and back, and what stands here; steps happen in any order. */
class Model {
  readonly mode: Mode;
  readonly server: Subscriptions;
  readonly current: Record<Kind, number> = { trust: 1, identity: 1 };
  readonly toProxy: Sending[] = [];
  readonly toServer: XdsRequest[] = [];
  nowMs = 0;
  /** The proxy: what it has, what it wants, and (state of the world) what it says. */
  readonly has: { [K in Kind]?: string } = {};
  readonly refuses = new Set<string>();
  readonly wants = new Set<Kind>();
  readonly everAccepted = new Set<string>();
  info = '';
  nonce = '';

  constructor(mode: Mode) {
    this.mode = mode;
    this.server = new Subscriptions(mode, NAMES);
  }

  start(wants: readonly Kind[], holds: readonly Kind[]): void {
    for (const one of holds) {
      this.has[one] = versionOf(one, 1);
      this.everAccepted.add(versionOf(one, 1));
    }
    for (const one of wants) this.wants.add(one);
    this.info = joinVersions(this.has);
    const initial = new Map(KINDS.flatMap((one) => (this.has[one] ? [[NAMES[one], this.has[one]] as const] : [])));
    this.toServer.push(request(this.mode === 'sotw' ? this.#world({}) : { subscribe: this.#names(), initial }));
  }

  run(one: Step): void {
    switch (one.do) {
      case 'change':
        this.current[one.kind] += 1;
        break;
      case 'wait':
        this.nowMs += 10_000_000;
        break;
      case 'send':
        this.send();
        break;
      case 'deliver':
        this.deliver(one.refuse);
        break;
      case 'answer':
        this.answer();
        break;
      case 'wants':
        this.#want(one.kind, one.wants);
        break;
      case 'noise':
        this.#noise(one.nonce, one.refuse);
        break;
    }
  }

  send(): void {
    const sending = this.server.next(
      (one) => versionOf(one, this.current[one]),
      () => true,
      this.nowMs,
    );
    if (sending === undefined) return;
    expect(this.server.wants(sending.kind)).toBe(true);
    expect(sending.version).toBe(versionOf(sending.kind, this.current[sending.kind]));
    this.toProxy.push(sending);
  }

  deliver(refuse: boolean): void {
    const got = this.toProxy.shift();
    if (got === undefined) return;
    this.nonce = got.nonce;
    if (refuse) {
      this.refuses.add(got.version);
      this.toServer.push(request(this.#answerOf({ nonce: got.nonce, refusal: 'no' })));
      return;
    }
    this.has[got.kind] = got.version;
    this.everAccepted.add(got.version);
    this.info = got.info;
    this.toServer.push(request(this.#answerOf({ nonce: got.nonce })));
  }

  answer(): void {
    const next = this.toServer.shift();
    if (next !== undefined) this.server.take(next, this.nowMs);
  }

  #want(one: Kind, wants: boolean): void {
    if (this.wants.has(one) === wants) return;
    if (wants) this.wants.add(one);
    else this.wants.delete(one);
    const name = NAMES[one];
    if (this.mode === 'sotw') this.toServer.push(request(this.#world({ nonce: this.nonce })));
    else this.toServer.push(request(wants ? { subscribe: [name] } : { unsubscribe: [name] }));
  }

  /** Nonces of older responses, or none that we ever made; whatever the proxy holds by then. */
  #noise(nonce: string, refuse: boolean): void {
    const isOld = nonce === '' || Number(nonce) < Number(this.nonce) || !/^[1-9]$/.test(nonce);
    if (!isOld || nonce === this.nonce) return;
    this.toServer.push(request({ ...this.#answerOf({ nonce }), ...(refuse && { refusal: 'late' }) }));
  }

  #answerOf(more: Partial<XdsRequest>): Partial<XdsRequest> {
    return this.mode === 'sotw' ? this.#world(more) : more;
  }

  #world(more: Partial<XdsRequest>): Partial<XdsRequest> {
    return { holds: this.info, names: this.#names(), ...more };
  }

  #names(): string[] {
    return [...this.wants].map((one) => NAMES[one]);
  }
}

describe.each(['sotw', 'delta'] as const)('what a %s stream holds', (mode) => {
  const run = fc.property(
    fc.subarray([...KINDS]),
    fc.subarray([...KINDS]),
    fc.array(step, { maxLength: 60 }),
    (wants, holds, steps) => {
      const model = new Model(mode);
      model.start(wants, holds);
      for (const one of steps) {
        model.run(one);
        for (const each of KINDS) {
          const held = model.server.held(each);
          // What counts as a proof was really taken by the proxy at some time.
          if (held !== undefined) expect(model.everAccepted).toContain(held.version);
        }
        expect(model.toProxy.length).toBeLessThan(70);
      }
      // The proxy takes everything from now on, and nothing is refused that it is sent.
      for (let round = 0; round < 40; round += 1) {
        model.nowMs += 10_000_000;
        model.answer();
        model.send();
        model.deliver(false);
      }
      expect(model.toServer).toEqual([]);
      for (const each of model.wants) {
        expect(model.has[each]).toBe(versionOf(each, model.current[each]));
        expect(model.server.held(each)?.version).toBe(model.has[each]);
      }
      expect(model.server.retryAtMs()).toBeUndefined();
    },
  );

  it('is what the proxy has taken, and becomes what stands, whatever the order of requests, responses and old nonces', () => {
    fc.assert(run, { numRuns: 400 });
  });
});

describe('a version that a proxy refused', () => {
  it('is not sent again before its time, and each time later', () => {
    const server = new Subscriptions('delta', NAMES);
    server.take(request({ subscribe: ['mesh_ca'] }), 0);
    const send = (atMs: number, n = 1) =>
      server.next(
        (one) => versionOf(one, n),
        () => true,
        atMs,
      );
    let atMs = 0;
    for (const waitMs of [60_000, 240_000, 960_000, 3_600_000, 3_600_000]) {
      const sent = send(atMs);
      expect(sent).toBeDefined();
      server.take(request({ nonce: sent?.nonce ?? '', refusal: 'no' }), atMs);
      expect(server.retryAtMs()).toBe(atMs + waitMs);
      expect(send(atMs + waitMs - 1)).toBeUndefined();
      atMs += waitMs;
    }
    expect(send(0, 2)?.version).toBe(versionOf('trust', 2));
  });

  it('does not count as accepted because its nonce comes again with a change of names', () => {
    const server = new Subscriptions('sotw', NAMES);
    server.take(request({ names: ['mesh_ca'] }), 0);
    const send = () =>
      server.next(
        (one) => versionOf(one, 1),
        () => true,
        0,
      );
    const { nonce = '' } = send() ?? {};
    server.take(request({ names: ['mesh_ca'], nonce, refusal: 'no' }), 0);
    server.take(request({ names: ['mesh_ca', 'identity_cert'], nonce }), 0);
    expect(server.held('trust')).toBeUndefined();
    const next = send();
    expect(next).toMatchObject({ kind: 'identity', info: versionOf('identity', 1) });
  });
});

describe('a version text', () => {
  const serial = fc.stringMatching(/^[0-9a-f]{2,40}$/);
  it('comes back as what it was made of', () => {
    fc.assert(
      fc.property(fc.nat(), fc.string(), serial, (version, pem, hex) => {
        const held = { trust: trustVersion(version, pem), identity: `c${hex}` };
        expect(splitVersions(joinVersions(held))).toEqual(held);
        expect(bundleVersionOf(held.trust)).toBe(version);
      }),
    );
  });

  it('that is not ours holds nothing', () => {
    const foreign = ['', '1', 't7', 't7-XYZ', 'c', 'cXYZ', 'c01+', `t7-${'0'.repeat(15)}`, 'x'.repeat(300), 't-1'];
    expect(foreign.map((text) => splitVersions(text).trust)).toEqual(foreign.map(() => undefined));
  });
});
