import { AwsError } from './aws-error.ts';
import type { SigningCa } from './certificate-authority.ts';

/** A certificate that was ordered. */
export interface Issued {
  readonly arn: string;
  readonly der: Buffer;
  readonly chain: readonly Buffer[];
  readonly readyAtMs: number;
  readonly failed: boolean;
}

interface Remembered {
  /** Everything that was asked, as text. */
  readonly asked: string;
  readonly arn: string;
  readonly untilMs: number;
}

const REMEMBERED_MS = 5 * 60_000;

export interface IssuedCertificates {
  readonly count: number;
  add(issued: Issued): void;
  find(arn: string): Issued | undefined;
  /** The certificate that this token has got within the last five minutes. @throws AwsError when it was for something else */
  findByToken(ca: SigningCa, token: string, asked: string): string | undefined;
  remember(ca: SigningCa, token: string, asked: string, arn: string): void;
}

export function createIssuedCertificates(monotonicMs: () => number): IssuedCertificates {
  const byArn = new Map<string, Issued>();
  const byToken = new Map<string, Remembered>();
  const keyOf = (ca: SigningCa, token: string) => `${ca.arn} ${token}`;
  return {
    get count() {
      return byArn.size;
    },
    add: (issued) => void byArn.set(issued.arn, issued),
    find: (arn) => byArn.get(arn),
    findByToken(ca, token, asked) {
      const known = byToken.get(keyOf(ca, token));
      if (known === undefined || known.untilMs < monotonicMs()) return undefined;
      if (known.asked === asked) return known.arn;
      // AWS does not document what it does then; who relies on anything is wrong.
      throw new AwsError('InvalidArgsException', 'The idempotency token was used with other parameters');
    },
    remember(ca, token, asked, arn) {
      byToken.set(keyOf(ca, token), { asked, arn, untilMs: monotonicMs() + REMEMBERED_MS });
    },
  };
}
