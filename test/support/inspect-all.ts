import type { Check, Issuer } from '../../src/issuer/issuer.ts';

const THIRTY_DAYS = 30 * 24 * 3600;

/** All that an issuer finds, in the order in which it tells it. */
export async function inspectAll(
  issuer: Pick<Issuer, 'inspect'>,
  signal = new AbortController().signal,
  ttlSeconds = THIRTY_DAYS,
): Promise<readonly Check[]> {
  const checks: Check[] = [];
  await issuer.inspect({ signal, ttlSeconds, report: (check) => void checks.push(check) });
  return checks;
}

/** Those of them that have failed. */
export async function inspectFailed(issuer: Pick<Issuer, 'inspect'>): Promise<readonly Check[]> {
  return (await inspectAll(issuer)).filter(({ status }) => status === 'failed');
}
