import { AwsError, constraintError } from './aws-error.ts';
import type { UsageMode } from './certificate-authority.ts';

const TYPES = ['END_DATE', 'MONTHS', 'YEARS', 'ABSOLUTE', 'DAYS'] as const;
type ValidityType = (typeof TYPES)[number];

export interface Period {
  readonly notBefore: Date;
  readonly notAfter: Date;
}

export interface PeriodLimits {
  readonly now: Date;
  readonly caNotAfter: Date;
  readonly usageMode: UsageMode;
}

const HOUR_MS = 3_600_000;
const SHORT_LIVED_MAX_MS = 7 * 24 * HOUR_MS;

/** What `Validity` and `ValidityNotBefore` ask for, to the second; nothing is cut. @throws AwsError ValidationException */
export function resolvePeriod(validity: unknown, validityNotBefore: unknown, limits: PeriodLimits): Period {
  const { now, caNotAfter, usageMode } = limits;
  const notAfter = instantOf(validity, 'validity', now, TYPES);
  const notBefore =
    validityNotBefore === undefined
      ? wholeSeconds(now.getTime() - HOUR_MS)
      : instantOf(validityNotBefore, 'validityNotBefore', now, ['ABSOLUTE', 'END_DATE']);
  const refuse = (text: string): never => {
    throw new AwsError('ValidationException', text);
  };
  if (notAfter.getTime() <= now.getTime()) refuse('The certificate validity specified is in the past');
  if (notBefore.getTime() >= notAfter.getTime()) refuse('The validity not before must be earlier than the validity');
  if (notAfter.getTime() > caNotAfter.getTime()) {
    refuse('The certificate validity specified exceeds the certificate authority validity');
  }
  if (usageMode === 'SHORT_LIVED_CERTIFICATE' && notAfter.getTime() - now.getTime() > SHORT_LIVED_MAX_MS) {
    refuse('The certificate validity specified exceeds the maximum of 7 days of a short-lived certificate authority');
  }
  return { notBefore, notAfter };
}

function instantOf(value: unknown, path: string, now: Date, types: readonly ValidityType[]): Date {
  const { Type, Value } = Object(value) as { Type?: unknown; Value?: unknown };
  const type = types.find((one) => one === Type);
  if (type === undefined) {
    throw constraintError(Type, `${path}.type`, `Member must satisfy enum value set: [${types.join(', ')}]`);
  }
  if (typeof Value !== 'number' || !Number.isInteger(Value)) {
    throw new AwsError('SerializationException', `${path}.value is not a whole number`);
  }
  if (Value < 1) {
    throw constraintError(Value, `${path}.value`, 'Member must have value greater than or equal to 1');
  }
  const instant = INSTANTS[type](Value, now);
  if (Number.isNaN(instant.getTime())) throw new AwsError('ValidationException', `${path}.value is no ${type}`);
  return wholeSeconds(instant.getTime());
}

const INSTANTS: Readonly<Record<ValidityType, (value: number, now: Date) => Date>> = {
  ABSOLUTE: (seconds) => new Date(seconds * 1000),
  END_DATE: readEndDate,
  DAYS: (days, now) => changed(now, (at) => at.setUTCDate(at.getUTCDate() + days)),
  MONTHS: (months, now) => changed(now, (at) => at.setUTCMonth(at.getUTCMonth() + months)),
  YEARS: (years, now) => changed(now, (at) => at.setUTCFullYear(at.getUTCFullYear() + years)),
};

function changed(start: Date, change: (at: Date) => void): Date {
  const at = new Date(start);
  change(at);
  return at;
}

/** UTCTime (YYMMDDHHMMSS, years before 50 are 20xx) or GeneralizedTime (YYYYMMDDHHMMSS), written as a number. */
function readEndDate(value: number): Date {
  const digits = String(value);
  const full =
    digits.length <= 12
      ? digits
          .padStart(12, '0')
          .replace(/^(?=[0-4])/, '20')
          .replace(/^(?=[5-9]\d{11}$)/, '19')
      : digits;
  const [, year, month, day, hours, minutes, seconds] = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)$/.exec(full) ?? [];
  return new Date(`${year}-${month}-${day}T${hours}:${minutes}:${seconds}Z`);
}

function wholeSeconds(ms: number): Date {
  return new Date(Math.floor(ms / 1000) * 1000);
}
