import type { Certificate } from '../../src/x509/certificate.ts';
import type { Checks } from './checks.ts';

const DAY_MS = 24 * 60 * 60 * 1000;

/** From here on a certificate of the default 30 days is cut by the end of its CA. */
const SHORT_LIFE_MS = 30 * DAY_MS;

export type CaLife =
  | { readonly state: 'valid' | 'ends-soon'; readonly sentence: string }
  | { readonly state: 'expired' | 'not-yet-valid'; readonly sentence: string };

/** Where a CA certificate stands in its life at `at`. */
export function caLife(certificate: Certificate, at: Date): CaLife {
  const leftMs = certificate.notAfter.getTime() - at.getTime();
  const [from, to] = [certificate.notBefore.toISOString(), certificate.notAfter.toISOString()];
  if (leftMs <= 0) return { state: 'expired', sentence: `expired at ${to}` };
  if (at < certificate.notBefore) return { state: 'not-yet-valid', sentence: `is not valid before ${from}` };
  const days = Math.floor(leftMs / DAY_MS);
  const left = days === 1 ? '1 day left' : days === 0 ? 'less than a day left' : `${days} days left`;
  return { state: leftMs < SHORT_LIFE_MS ? 'ends-soon' : 'valid', sentence: `is valid until ${to}, ${left}` };
}

/** The check `<type>.ca-valid` over all certificates of the path. The worst one speaks. */
export function checkCaLife(checks: Checks, path: readonly Certificate[], at: Date, renew: string): void {
  const lives = path.map((certificate) => ({ certificate, life: caLife(certificate, at) }));
  const bad = lives.find(({ life }) => life.state === 'expired' || life.state === 'not-yet-valid');
  const soonest = lives.reduce((a, b) => (b.certificate.notAfter < a.certificate.notAfter ? b : a));
  const { certificate, life } = bad ?? soonest;
  const message = `CA certificate "${certificate.subject}" ${life.sentence}`;
  switch (life.state) {
    case 'valid':
      checks.pass('ca-valid', message);
      break;
    case 'ends-soon':
      checks.warn('ca-valid', {
        message,
        cause: `certificates that would live past ${certificate.notAfter.toISOString()} are cut to it or refused, and after it none is trusted`,
        fix: renew,
      });
      break;
    case 'expired':
      checks.fail('ca-valid', { message, cause: 'proxies refuse every certificate of an expired CA', fix: renew });
      break;
    case 'not-yet-valid':
      checks.fail('ca-valid', {
        message,
        cause: 'its notBefore lies in the future',
        fix: 'wait until then, and check the clock of this machine: timedatectl status',
        retry: true,
      });
  }
}
