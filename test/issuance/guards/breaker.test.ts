import { describe, expect, it } from 'vitest';
import {
  type Breaker,
  type BreakerEvent,
  breakerPhase,
  LONGEST_REQUEST_MS,
  NEW_BREAKER,
  nextBreaker,
} from '../../../src/issuance/guards/breaker.ts';
import type { Effect, Failure } from '../../../src/issuance/guards/failure.ts';

const RULES = { backoffBaseMs: 5000, backoffMaxMs: 300_000, breakerDataplanes: 3 };
const NOW = 100_000;

const failure = (effect: Effect, toldMs?: number): Failure => ({
  effect,
  cause: { code: 'ERR_ISSUER_UNAVAILABLE', message: 'new', fix: undefined },
  toldMs,
});
const failed = (dataplane: string, permit = 1, of = failure('backend'), sinceMs = NOW): BreakerEvent => ({
  kind: 'failed',
  permit,
  sinceMs,
  dataplane,
  failure: of,
});
const closed = (...names: string[]): Breaker => ({ state: 'closed', failed: new Set(names), sinceMs: 50_000 });
const open = (opened = 1, untilMs = NOW, trial?: number): Breaker => ({
  state: 'open',
  opened,
  dataplanes: 3,
  wait: { untilMs, toldMs: undefined },
  cause: { code: 'ERR_ISSUER_DENIED', message: 'old', fix: undefined },
  trial: trial === undefined ? undefined : { permit: trial, sinceMs: NOW },
});

/** What matters of a breaker. */
function sketch(breaker: Breaker): unknown {
  if (breaker.state === 'closed') return { failed: [...breaker.failed] };
  const { opened, wait, trial, cause } = breaker;
  return { opened, waits: wait.untilMs - NOW, trial: trial?.permit, cause: cause.message };
}

describe('a breaker', () => {
  const cases: readonly { name: string; from: Breaker; event: BreakerEvent; to: unknown }[] = [
    { name: 'closed: counts a data plane that failed', from: NEW_BREAKER, event: failed('a'), to: { failed: ['a'] } },
    { name: 'closed: counts each once', from: closed('a', 'b'), event: failed('b'), to: { failed: ['a', 'b'] } },
    {
      name: 'closed: opens when enough different ones failed',
      from: closed('a', 'b'),
      event: failed('c'),
      to: { opened: 1, waits: 5000, trial: undefined, cause: 'new' },
    },
    {
      name: 'closed: opens for as long as the backend says',
      from: closed('a', 'b'),
      event: failed('c', 1, failure('backend', 20_000)),
      to: { opened: 1, waits: 20_000, trial: undefined, cause: 'new' },
    },
    {
      name: 'closed: begins to count anew after a success',
      from: closed('a', 'b'),
      event: { kind: 'succeeded' },
      to: { failed: [] },
    },
    {
      name: 'closed: takes no notice of a failure of what was asked before it was closed',
      from: closed('a', 'b'),
      event: failed('c', 1, failure('backend'), 49_999),
      to: { failed: ['a', 'b'] },
    },
    ...(['throttled', 'pending', 'refused'] as const).map((effect) => ({
      name: `closed: takes no notice of what is ${effect}`,
      from: closed('a', 'b'),
      event: failed('c', 1, failure(effect)),
      to: { failed: ['a', 'b'] },
    })),
    {
      name: 'closed: takes no notice of a permit given back',
      from: closed('a'),
      event: { kind: 'given', permit: 1 },
      to: { failed: ['a'] },
    },
    {
      name: 'open: gives its one place away',
      from: open(),
      event: { kind: 'admitted', permit: 7 },
      to: { opened: 1, waits: 0, trial: 7, cause: 'old' },
    },
    {
      name: 'open: takes no notice of the failure of one that was under way',
      from: open(2, NOW + 9),
      event: failed('d', 4),
      to: { opened: 2, waits: 9, trial: undefined, cause: 'old' },
    },
    {
      name: 'open: closes when one that was under way succeeds',
      from: open(),
      event: { kind: 'succeeded' },
      to: { failed: [] },
    },
    {
      name: 'half-open: opens for twice as long when the trial fails',
      from: open(1, NOW, 7),
      event: failed('a', 7),
      to: { opened: 2, waits: 10_000, trial: undefined, cause: 'new' },
    },
    {
      name: 'half-open: opens for the longest wait at last',
      from: open(60, NOW, 7),
      event: failed('a', 7),
      to: { opened: 61, waits: 300_000, trial: undefined, cause: 'new' },
    },
    {
      name: 'half-open: opens for as long as the backend says',
      from: open(1, NOW, 7),
      event: failed('a', 7, failure('backend', 1e6)),
      to: { opened: 2, waits: 1e6, trial: undefined, cause: 'new' },
    },
    {
      name: 'half-open: waits, but not for longer than before, when the trial is throttled',
      from: open(3, NOW, 7),
      event: failed('a', 7, failure('throttled')),
      to: { opened: 3, waits: 20_000, trial: undefined, cause: 'new' },
    },
    {
      name: 'half-open: waits exactly as long as a throttling backend says',
      from: open(3, NOW, 7),
      event: failed('a', 7, failure('throttled', 1234)),
      to: { opened: 3, waits: 1234, trial: undefined, cause: 'new' },
    },
    {
      name: 'half-open: closes when the trial is worked on',
      from: open(1, NOW, 7),
      event: failed('a', 7, failure('pending')),
      to: { failed: [] },
    },
    {
      name: 'half-open: has its place back when the trial is refused',
      from: open(3, NOW, 7),
      event: failed('a', 7, failure('refused')),
      to: { opened: 3, waits: 0, trial: undefined, cause: 'old' },
    },
    {
      name: 'half-open: has its place back when the trial did not take place',
      from: open(3, NOW, 7),
      event: { kind: 'given', permit: 7 },
      to: { opened: 3, waits: 0, trial: undefined, cause: 'old' },
    },
    {
      name: 'half-open: takes no notice of others that end',
      from: open(3, NOW, 7),
      event: { kind: 'given', permit: 6 },
      to: { opened: 3, waits: 0, trial: 7, cause: 'old' },
    },
    {
      name: 'half-open: closes when any succeeds',
      from: open(3, NOW, 7),
      event: { kind: 'succeeded' },
      to: { failed: [] },
    },
  ];
  for (const { name, from, event, to } of cases) {
    it(name, () => expect(sketch(nextBreaker(from, event, RULES, { nowMs: NOW, chance: 0 }))).toEqual(to));
  }

  it('gives the place of a trial of which nothing was ever heard to the next one', () => {
    const asking = open(2, NOW, 7);
    expect(breakerPhase(asking, NOW + LONGEST_REQUEST_MS - 1)).toBe('trial');
    expect(breakerPhase(asking, NOW + LONGEST_REQUEST_MS)).toBe('due');
    const at = { nowMs: NOW + LONGEST_REQUEST_MS, chance: 0 };
    const next = nextBreaker(asking, { kind: 'admitted', permit: 8 }, RULES, at);
    expect(breakerPhase(next, at.nowMs)).toBe('trial');
    expect(nextBreaker(next, failed('a', 7), RULES, at)).toBe(next);
  });

  it('opens with the first failure when that is the rule', () => {
    const rules = { ...RULES, breakerDataplanes: 1 };
    expect(nextBreaker(NEW_BREAKER, failed('a'), rules, { nowMs: NOW, chance: 0 }).state).toBe('open');
  });

  const phases: readonly { from: Breaker; phase: string }[] = [
    { from: closed('a'), phase: 'closed' },
    { from: open(1, NOW + 1), phase: 'open' },
    { from: open(1, NOW), phase: 'due' },
    { from: open(1, NOW, 7), phase: 'trial' },
  ];
  for (const { from, phase } of phases)
    it(`is ${phase} when it is so`, () => expect(breakerPhase(from, NOW)).toBe(phase));
});
