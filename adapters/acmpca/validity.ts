/** The life of a certificate as IssueCertificate takes it: type ABSOLUTE, seconds since 1970, so that hours and minutes work. */
export interface Validity {
  readonly notBeforeSeconds: number;
  readonly notAfterSeconds: number;
}

/** What bounds a life. */
export interface LifeBounds {
  /** The CA's own. */
  readonly notBefore: Date | undefined;
  readonly notAfter: Date | undefined;
  /** Of a CA in short-lived mode, or learnt from a refusal. */
  readonly maxLifeSeconds: number | undefined;
}

/** As Kuma: a proxy whose clock is a little behind accepts the certificate at once. AWS's own default is an hour. */
const BACKDATE_SECONDS = 10;

/**
 * From 10 s ago for `ttlSeconds`, cut by what the CA allows. Undefined when the CA's own life leaves nothing.
 * @param ttlSeconds at least one second is asked for
 */
export function validityOf(now: Date, ttlSeconds: number, bounds: LifeBounds): Validity | undefined {
  const nowSeconds = Math.floor(now.getTime() / 1000);
  const notBeforeSeconds = Math.max(nowSeconds - BACKDATE_SECONDS, secondsOf(bounds.notBefore) ?? 0);
  const notAfterSeconds = Math.min(
    nowSeconds + Math.max(1, Math.floor(ttlSeconds)),
    secondsOf(bounds.notAfter) ?? Number.POSITIVE_INFINITY,
    notBeforeSeconds + (bounds.maxLifeSeconds ?? Number.POSITIVE_INFINITY),
    LAST_SECOND,
  );
  return notAfterSeconds > nowSeconds ? { notBeforeSeconds, notAfterSeconds } : undefined;
}

/** 9999-12-31T23:59:59Z, the last that a certificate can say (RFC 5280, 4.1.2.5). */
const LAST_SECOND = 253_402_300_799;

function secondsOf(date: Date | undefined): number | undefined {
  return date === undefined ? undefined : Math.floor(date.getTime() / 1000);
}
