import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { GuardedRequest, Permit } from '../../../src/issuance/guards/backend-guards.ts';
import { LONGEST_REQUEST_MS } from '../../../src/issuance/guards/breaker.ts';
import {
  CaError,
  ConflictError,
  IssuancePendingError,
  IssuerDeniedError,
  IssuerUnavailableError,
  RateLimitedError,
  RequestInvalidError,
  StoreUnavailableError,
} from '../../../src/issuer/errors.ts';
import { settle } from '../../support/pass-time.ts';
import { BACKEND, type GuardWorld, LIMITS, START, startGuards } from './guard-world.ts';

type Outcome =
  | 'success'
  | 'given'
  | 'unavailable'
  | 'denied'
  | 'throttled'
  | 'pending'
  | 'refused'
  | 'store'
  | 'conflict';
interface Who {
  readonly dataplane: number;
  readonly request: number;
  readonly instead: 'none' | 'urgent' | 'there';
}
type Step =
  | ({ readonly kind: 'ask' } & Who)
  /** Asks, and when refused just before it was told, and when it was told. */
  | ({ readonly kind: 'obey'; readonly restarts: boolean } & Who)
  | { readonly kind: 'end'; readonly which: number; readonly outcome: Outcome; readonly toldMs: number | undefined }
  | { readonly kind: 'pass'; readonly ms: number }
  | { readonly kind: 'recovered' }
  | { readonly kind: 'restart' };

const who = {
  dataplane: fc.integer({ min: 0, max: 7 }),
  request: fc.integer({ min: 0, max: 1 }),
  instead: fc.constantFrom<Who['instead']>('none', 'urgent', 'there'),
};
const outcome = fc.oneof(
  { weight: 6, arbitrary: fc.constant<Outcome>('unavailable') },
  fc.constantFrom<Outcome>('success', 'given', 'denied', 'throttled', 'pending', 'refused', 'store', 'conflict'),
);
const toldMs = fc.option(fc.integer({ min: 1, max: 900_000 }), { nil: undefined, freq: 3 });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('ask' as const), ...who }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('obey' as const), restarts: fc.boolean(), ...who }) },
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('end' as const), which: fc.nat(20), outcome, toldMs }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('pass' as const), ms: fc.oneof(fc.nat(12_000), fc.nat(400_000)) }),
  },
  fc.constant({ kind: 'recovered' as const }),
  fc.constant({ kind: 'restart' as const }),
);

function errorOf(what: Exclude<Outcome, 'success' | 'given'>, told: number | undefined): CaError {
  const options = told === undefined ? {} : { retryAfterMs: told };
  switch (what) {
    case 'unavailable':
      return new IssuerUnavailableError('down', options);
    case 'denied':
      return new IssuerDeniedError('denied', options);
    case 'throttled':
      return new RateLimitedError('slow down', options);
    case 'pending':
      return new IssuancePendingError('waits', options);
    case 'refused':
      return new RequestInvalidError('bad key', options);
    case 'store':
      return new StoreUnavailableError('disk is full', options);
    case 'conflict':
      return new ConflictError('made again', options);
  }
}

interface UnderWay {
  readonly permit: Permit;
  readonly request: GuardedRequest;
  readonly sinceMs: number;
  readonly isTrial: boolean;
}

/** What must hold whatever happens, by simpler means than the guards have. */
class Model {
  readonly #world: GuardWorld;
  #underWay: UnderWay[] = [];
  #isOpen = false;
  #failed = new Set<string>();
  #closedMs = -1;
  /** Data plane and request -> before when the backend itself does not want to be asked. */
  readonly #told = new Map<string, { readonly untilMs: number; readonly staysSo: boolean }>();

  constructor(world: GuardWorld) {
    this.#world = world;
  }

  requestOf({ dataplane, request, instead }: Who): GuardedRequest {
    const name = `dp-${dataplane}`;
    const notAfter = new Date(START.getTime() + 86_400_000 * (dataplane + 1));
    return {
      dataplane: name,
      fingerprint: `f${request}`,
      ...(instead !== 'none' && { instead: { notAfter, urgent: instead === 'urgent' } }),
    };
  }

  /** Undefined: it was let through. */
  ask(request: GuardedRequest): CaError | undefined {
    const { guards, nowMs } = this.#world;
    const before = guards.state(BACKEND);
    const asked = this.#world.ask(request.dataplane, request);
    if (asked instanceof CaError) {
      const { retryAfterMs = 0, hold } = asked;
      if (!Number.isInteger(retryAfterMs) || retryAfterMs < 1) throw new Error(`told to wait for ${retryAfterMs} ms`);
      expect(hold?.breaker).toBe(before.breaker);
      expect(guards.state(BACKEND)).toEqual(before);
      return asked;
    }
    if (before.breaker === 'open') throw new Error('let through while the breaker was open');
    const isTrial = before.breaker === 'half-open';
    if (isTrial && this.#underWay.some((other) => other.isTrial && !this.#isLost(other)))
      throw new Error('two trials at a time');
    const told = this.#told.get(keyOf(request));
    if (told !== undefined && nowMs < told.untilMs) throw new Error(`asked at ${nowMs}, told ${told.untilMs}`);
    this.#underWay.push({ permit: asked, request, sinceMs: nowMs, isTrial });
    return undefined;
  }

  end(which: number, what: Outcome, told: number | undefined): void {
    const [ended] = this.#underWay.splice(which % Math.max(1, this.#underWay.length), 1);
    if (ended === undefined) return;
    const { permit, request } = ended;
    if (what === 'given' || this.#isLost(ended)) permit.given();
    else if (what === 'success') {
      permit.succeeded();
      this.#succeeded(request);
    } else {
      permit.failed(errorOf(what, told));
      // The other two are not the backend's.
      if (what !== 'store' && what !== 'conflict') this.#fail(ended, what, told);
    }
    this.#check();
  }

  /** Its deadline came, and nobody waits for it any more. */
  #isLost({ sinceMs }: UnderWay): boolean {
    return this.#world.nowMs >= sinceMs + LONGEST_REQUEST_MS;
  }

  #succeeded({ dataplane }: GuardedRequest): void {
    this.#forget(dataplane);
    this.#failed.clear();
    if (this.#isOpen) this.#close();
  }

  #fail({ request, sinceMs, isTrial }: UnderWay, what: Outcome, told: number | undefined): void {
    // The failure of another request of the data plane takes the place of what was known.
    this.#forget(request.dataplane);
    const staysSo = what === 'throttled' || what === 'refused';
    if (told !== undefined) this.#told.set(keyOf(request), { untilMs: this.#world.nowMs + told, staysSo });
    if (this.#isOpen) {
      if (isTrial && what === 'pending') this.#close();
    } else if ((what === 'unavailable' || what === 'denied') && sinceMs >= this.#closedMs) {
      this.#failed.add(request.dataplane);
      this.#isOpen = this.#failed.size >= LIMITS.breakerDataplanes;
    }
  }

  recovered(): void {
    this.#world.guards.recovered(BACKEND);
    this.#failed.clear();
    if (this.#isOpen) this.#close();
    else this.#lift();
    this.#check();
  }

  async restart(): Promise<void> {
    await this.#world.restart();
    // Those under way ended with the process, and what it knew of times before.
    this.#underWay = [];
    this.#closedMs = -1;
    this.#check();
  }

  #close(): void {
    this.#isOpen = false;
    this.#failed.clear();
    this.#closedMs = this.#world.nowMs;
    this.#underWay = this.#underWay.map((one) => ({ ...one, isTrial: false }));
    this.#lift();
  }

  /** A backend that is well again may be asked, unless it is what itself wants. */
  #lift(): void {
    for (const [key, { staysSo }] of this.#told) if (!staysSo) this.#told.delete(key);
  }

  #forget(dataplane: string): void {
    for (const key of this.#told.keys()) if (key.startsWith(`${dataplane}/`)) this.#told.delete(key);
  }

  #check(): void {
    const { breaker } = this.#world.guards.state(BACKEND);
    if ((breaker !== 'closed') !== this.#isOpen) throw new Error(`the breaker is ${breaker}, open is ${this.#isOpen}`);
  }
}

function keyOf({ dataplane, fingerprint }: GuardedRequest): string {
  return `${dataplane}/${fingerprint}`;
}

/** Whoever is refused, comes back just in time, and is let through then and not before. */
async function obey(world: GuardWorld, model: Model, request: GuardedRequest, restarts: boolean): Promise<void> {
  const first = model.ask(request);
  // While another one tries, nobody knows how that ends.
  if (first === undefined || first.hold?.breaker === 'half-open') return;
  const { retryAfterMs = 0 } = first;
  // A slot after a recovery is not kept over a restart.
  const isSpread = first.message.includes('spread');
  if (restarts && !isSpread) await model.restart();
  world.clock.advance(retryAfterMs - 1);
  await settle();
  expect(model.ask(request)?.retryAfterMs).toBe(1);
  world.clock.advance(1);
  await settle();
  expect(model.ask(request)?.message).toBeUndefined();
}

describe('the guards, whatever happens', () => {
  it('let one at a time try, nobody before the told time, and everybody at it; also over restarts', async () => {
    const chance = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 120 }), chance, async (steps, by) => {
        const world = await startGuards();
        world.chance = by;
        const model = new Model(world);
        for (const one of steps) {
          if (one.kind === 'ask') model.ask(model.requestOf(one));
          else if (one.kind === 'obey') await obey(world, model, model.requestOf(one), one.restarts);
          else if (one.kind === 'end') model.end(one.which, one.outcome, one.toldMs);
          else if (one.kind === 'recovered') model.recovered();
          else if (one.kind === 'restart') await model.restart();
          else world.clock.advance(one.ms);
          await settle();
        }
        await world.close();
        expect(world.clock.pending).toBe(0);
      }),
      { numRuns: 120 },
    );
  });
});
