import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../src/runtime/clock.ts';
import { silentLog } from '../../src/runtime/log.ts';
import { CERTIFICATE_CHECKS } from '../../src/validation/certificate-checks.ts';
import { failed, type Look, passed, runChecks, warned } from '../../src/validation/run-checks.ts';

const NAMES = CERTIFICATE_CHECKS.map(({ name }) => name);
const trouble = { message: 'bad', cause: 'badly made', fix: 'make it well' };
const live = (blockedBy?: string) => ({
  clock: systemClock,
  log: silentLog,
  signal: new AbortController().signal,
  blockedBy,
});

/** The table of the certificate checks, where each look finds what is told. */
function played(bad: ReadonlySet<string>, odd: ReadonlySet<string>, looked: string[] = []): Look<undefined>[] {
  return CERTIFICATE_CHECKS.map(({ name, needs }) => ({
    name,
    needs,
    look: () => {
      looked.push(name);
      if (odd.has(name)) return warned(trouble);
      return bad.has(name) ? failed(trouble) : passed('well');
    },
  }));
}

describe('the table of certificate checks', () => {
  it('names each once, and needs only what stands before', () => {
    expect(new Set(NAMES).size).toBe(NAMES.length);
    for (const [i, { name, needs }] of CERTIFICATE_CHECKS.entries()) {
      expect(name).toMatch(/^certificate\.[a-z]+(-[a-z]+)*$/);
      for (const need of needs) expect(NAMES.slice(0, i)).toContain(need);
    }
  });

  it('whatever fails: what needs it is skipped, names a failed check, and all else is looked at, once', async () => {
    const subset = fc.subarray(NAMES);
    await fc.assert(
      fc.asyncProperty(subset, subset, async (bad, odd) => {
        const looked: string[] = [];
        const checks = await runChecks(played(new Set(bad), new Set(odd), looked), undefined, live());
        expect(checks.map(({ name }) => name)).toEqual(NAMES);
        const status = new Map(checks.map((check) => [check.name, check.status]));
        const isBlocked = (name: string) => ['failed', 'skipped'].includes(status.get(name) ?? '');
        for (const { name, needs } of CERTIFICATE_CHECKS) {
          if (needs.some(isBlocked)) expect(status.get(name)).toBe('skipped');
          else expect(status.get(name)).toBe(odd.includes(name) ? 'warning' : bad.includes(name) ? 'failed' : 'passed');
        }
        for (const { message } of checks.filter((check) => check.status === 'skipped')) {
          expect(status.get(message.replace('not looked at: depends on ', ''))).toBe('failed');
        }
        expect(looked).toEqual(NAMES.filter((name) => status.get(name) !== 'skipped'));
      }),
    );
  });

  it('is not looked at where something blocks it', async () => {
    const looked: string[] = [];
    const checks = await runChecks(played(new Set(), new Set(), looked), undefined, live('vault.unsealed'));
    expect(looked).toEqual([]);
    expect(new Set(checks.map(({ message }) => message))).toEqual(
      new Set(['not looked at: depends on vault.unsealed']),
    );
  });
});

describe('a look that finds very much', () => {
  it('is cut short', async () => {
    const finding = failed({ message: 'names', cause: 'x'.repeat(1_000_000), fix: 'less' });
    const [check] = await runChecks([{ name: 'a', needs: [], look: () => finding }], undefined, live());
    expect(check?.cause).toHaveLength(2001);
  });

  it('is told in words that no terminal obeys', async () => {
    const words = 'a\u001b[2K\r\nb\u009b1mc\u202ed';
    const finding = failed({ message: words, cause: words, fix: words });
    const [check] = await runChecks([{ name: 'a', needs: [], look: () => finding }], undefined, live());
    const plain = 'a [2K b 1mc d';
    expect(check).toMatchObject({ message: plain, cause: plain, fix: plain });
  });
});

describe('a look that breaks', () => {
  const table = (look: Look<undefined>['look']): Look<undefined>[] => [{ name: 'a', needs: [], look }];

  it('fails, tells nothing of what it threw, and stands in the log', async () => {
    const logged: unknown[] = [];
    const log = { ...silentLog, error: (fields: unknown) => void logged.push(fields) };
    const error = new Error('secret');
    const checks = await runChecks(
      table(() => Promise.reject(error)),
      undefined,
      { ...live(), log },
    );
    expect(checks).toMatchObject([{ name: 'a', status: 'failed', cause: 'an unexpected error' }]);
    expect(JSON.stringify(checks)).not.toContain('secret');
    expect(logged).toEqual([{ check: 'a', err: error }]);
  });

  it('because the caller has gone rejects with the reason', async () => {
    const controller = new AbortController();
    const running = runChecks(
      table(() => {
        controller.abort(new Error('gone'));
        throw new Error('closed');
      }),
      undefined,
      { ...live(), signal: controller.signal },
    );
    await expect(running).rejects.toThrow('gone');
  });
});
