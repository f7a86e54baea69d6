import type { Check, Issuer } from '../../src/issuer/issuer.ts';

/** All that an issuer finds, in the order in which it tells it. */
export async function inspectAll(
  issuer: Pick<Issuer, 'inspect'>,
  signal = new AbortController().signal,
): Promise<readonly Check[]> {
  const checks: Check[] = [];
  await issuer.inspect({ signal, report: (check) => void checks.push(check) });
  return checks;
}

/** Those of them that have failed. */
export async function inspectFailed(issuer: Pick<Issuer, 'inspect'>): Promise<readonly Check[]> {
  return (await inspectAll(issuer)).filter(({ status }) => status === 'failed');
}
