import { type Asked, describeAsked, failuresOf } from './ask.ts';
import type { Recovery } from './callers.ts';
import type { BackendType, Calls } from './fault-world.ts';
import { allowedIn, type FaultRow } from './faults.ts';

const MOST_ISSUING_CALLS = 3;
const RECOVERED_WITHIN_MS = 2_000;
/** Log-in, abilities and CA certificates: asked for once and remembered, however many certificates follow. */
const CALLS_FOR_ALL = 12;
/**
 * In the quiet time, by watches and timers and by callers that still wait for an answer; and one more for each certificate, whose object may be
 * taken away just then. A loop without pauses makes hundreds.
 */
const MOST_QUIET_CALLS = 14;

/** What has reached the wire. */
export interface Measured {
  readonly calls: Calls;
  /** Connections that were tried. */
  readonly connects: number;
}

/** Everything that was seen of one fault. */
export interface Observed {
  readonly asked: number;
  /** Answers that came while it lasted. */
  readonly during: readonly Asked[];
  /** All answers: before, during and after. */
  readonly everything: readonly Asked[];
  readonly before: Measured;
  /** When the callers had stopped, and after the quiet time. */
  readonly quietFrom: Measured;
  readonly quietTo: Measured;
  /** When all was answered. */
  readonly atEnd: Measured;
  readonly recovery: Recovery;
}

export interface Numbers {
  readonly issuingCallsPerCertificate: number;
  readonly calls: number;
  readonly quietCalls: number;
}

export function numbersOf({ asked, before, quietFrom, quietTo, atEnd }: Observed): Numbers {
  const perService = [...atEnd.calls.byService].map(
    ([service, calls]) => calls - (before.calls.byService.get(service) ?? 0),
  );
  const average = asked === 0 ? 0 : (quietTo.calls.issuing - before.calls.issuing) / asked;
  return {
    issuingCallsPerCertificate: Math.max(average, ...perService),
    calls: callsBetween(before, quietTo),
    quietCalls: callsBetween(quietFrom, quietTo),
  };
}

/** Refused connections never reach the proxy: what was tried counts as a call, too. */
function callsBetween(before: Measured, after: Measured): number {
  return Math.max(after.calls.all - before.calls.all, after.connects - before.connects);
}

/** What the table demands and was not so. */
export function complaintsOf(row: FaultRow, type: BackendType, observed: Observed, numbers: Numbers): string[] {
  const { asked, during, everything, recovery } = observed;
  const { issuingCallsPerCertificate, calls, quietCalls } = numbers;
  const allowed = allowedIn(row, type);
  const recoveryMs = recovery.ms ?? Number.POSITIVE_INFINITY;
  const last = recovery.answers.at(-1);
  const demands: readonly (readonly [isMet: boolean, complaint: string])[] = [
    [
      issuingCallsPerCertificate <= MOST_ISSUING_CALLS,
      `${issuingCallsPerCertificate} issuing calls for one certificate`,
    ],
    [calls <= MOST_ISSUING_CALLS * asked + CALLS_FOR_ALL, `${calls} calls for ${asked} certificates`],
    [quietCalls <= MOST_QUIET_CALLS + asked, `${quietCalls} calls while nobody asked`],
    [
      recoveryMs < RECOVERED_WITHIN_MS,
      `recovery took ${recoveryMs.toFixed(0)} ms, last seen: ${last === undefined ? 'nothing' : describeAsked(last)}`,
    ],
  ];
  const seen = [
    ...during.filter((one) => !allowed.includes(one.seen)).map((one) => `a caller saw ${describeAsked(one)}`),
    ...everything.flatMap((one) => failuresOf(one, row.says)),
  ];
  return [...new Set(seen), ...demands.flatMap(([isMet, complaint]) => (isMet ? [] : [complaint]))];
}
