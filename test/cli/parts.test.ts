import { describe, expect, it } from 'vitest';
import { toCliError } from '../../src/cli/cli-error.ts';
import { EXIT_CODES, exitCodeOf } from '../../src/cli/exit-code.ts';
import { withProgress } from '../../src/cli/progress.ts';
import { formatPairs, formatTable } from '../../src/cli/table.ts';
import { displayWidth, plainText } from '../../src/cli/text.ts';
import { formatAgo, formatDate } from '../../src/cli/time-text.ts';
import { ConfigError, ERROR_CODES } from '../../src/issuer/errors.ts';
import { type Clock, systemClock } from '../../src/runtime/clock.ts';
import { NOW, run } from './run.ts';

describe('exit codes', () => {
  it.each(ERROR_CODES)('know what %s means', (code) => {
    expect([1, 3, 4, 5]).toContain(EXIT_CODES[code]);
    expect(exitCodeOf(code, 500)).toBe(EXIT_CODES[code]);
  });

  it.each([
    [400, 3],
    [404, 3],
    [405, 3],
    [429, 4],
    [500, 1],
    [501, 1],
    [502, 4],
    [503, 4],
    [504, 4],
  ])('follow the status %i where no code is known', (status, exit) => {
    expect(exitCodeOf(undefined, status)).toBe(exit);
    expect(exitCodeOf('toString', status)).toBe(exit);
  });
});

describe('exit codes of backends that do not prove themselves', () => {
  it('follow what the server says about trying again', () => {
    expect(exitCodeOf('ERR_BACKEND_INVALID', 400, true)).toBe(4);
    expect(exitCodeOf('ERR_BACKEND_INVALID', 400, false)).toBe(5);
    expect(exitCodeOf('ERR_CONFIG_INVALID', 400, true)).toBe(5);
  });
});

describe('failures', () => {
  it('tell the violations of an error one by one', () => {
    const error = new ConfigError('mesh "x" is not valid: a: b; c', {
      violations: [
        { field: 'a', message: 'b' },
        { field: '', message: 'c' },
      ],
      fix: 'mend it',
    });
    expect(toCliError(error)).toMatchObject({
      message: 'mesh "x" is not valid',
      why: ['a: b', 'c'],
      fix: 'mend it',
      exitCode: 5,
    });
  });

  it('tell an unexpected error without stack and secrets', () => {
    const failure = toCliError(new TypeError('no hvs.CAESIJlWWKDvNLKkyTbN'));
    expect(failure).toMatchObject({ exitCode: 1, why: ['no [redacted]'] });
  });
});

describe('tables', () => {
  it('align plain, wide, combined and coloured text alike', () => {
    const rows = [
      ['\u001b[32mOnline\u001b[39m', 'x'],
      ['日本', 'x'],
      ['e\u0301e\u0301', 'x'],
      ['🚀', 'x'],
      ['', 'x'],
    ];
    const lines = formatTable(['STATUS', 'B'], rows).split('\n').slice(0, -1);
    expect(new Set(lines.map(displayWidth))).toEqual(new Set([10]));
    expect(lines[0]).toBe('STATUS   B');
  });

  it('leave nothing at the ends of lines', () => {
    expect(formatTable(['A', 'LONGER'], [['x', '']])).toBe('A   LONGER\nx\n');
    expect(
      formatPairs([
        ['A', 'x'],
        ['LONG', ''],
      ]),
    ).toBe('A      x\nLONG\n');
  });

  it.each([
    ['abc', 3],
    ['\u001b[1mabc\u001b[22m', 3],
    ['日', 2],
    ['e\u0301', 1],
    ['👩‍👩‍👧', 2],
    ['❤️', 2],
    ['\u200b', 0],
    ['ﾊ', 1],
    ['', 0],
  ])('count %j as %i columns', (text, width) => {
    expect(displayWidth(text)).toBe(width);
  });

  it.each([
    ['a\tb\nc', 'a b c'],
    ['\u001b]0;title\u0007x', 'x'],
    ['\u009b31mx', 'x'],
    ['a\u202eb', 'ab'],
    ['日本', '日本'],
  ])('make %j harmless', (text, plain) => {
    expect(plainText(text)).toBe(plain);
  });
});

describe('times', () => {
  it.each([
    ['2026-01-02T03:04:05Z', '0s'],
    ['2026-01-02T03:03:06Z', '59s'],
    ['2026-01-02T03:03:05Z', '1m'],
    ['2026-01-02T02:04:06Z', '59m'],
    ['2026-01-02T02:04:05Z', '1h'],
    ['2026-01-01T03:04:06Z', '23h'],
    ['2026-01-01T03:04:05Z', '1d'],
    ['2025-01-02T03:04:06Z', '364d'],
    ['2025-01-02T03:04:05Z', '1y'],
    ['2026-01-02T03:04:06Z', '0s'],
    ['2026-01-02T03:04:07Z', 'never'],
    [undefined, 'never'],
    ['x', 'never'],
  ])('show %s as %s ago', (at, text) => {
    expect(formatAgo(at, NOW)).toBe(text);
  });

  it.each([
    ['2020-05-11T16:01:34Z', '2020-05-11 16:01:34'],
    ['2026-01-02T03:04:05.999Z', '2026-01-02 03:04:05'],
    [undefined, '-'],
    ['x', '-'],
  ])('show %s as the date %s', (at, text) => {
    expect(formatDate(at)).toBe(text);
  });
});

describe('progress', () => {
  /** A clock whose sleeps end at once until `frames` are over; then they wait for the abort. */
  function quickClock(frames: number): { clock: Clock; over: Promise<void> } {
    let left = frames;
    let open = () => {};
    const over = new Promise<void>((resolve) => {
      open = resolve;
    });
    const sleep: Clock['sleep'] = (_, signal) => {
      if (left-- > 0) return Promise.resolve();
      open();
      return new Promise((_resolve, reject) => signal?.addEventListener('abort', () => reject(signal.reason)));
    };
    return { clock: { ...systemClock, sleep }, over };
  }

  async function spin(isTTY: boolean, frames: number, env: Record<string, string> = {}): Promise<string> {
    const written: string[] = [];
    const { clock, over } = quickClock(frames);
    const stderr = { write: (text: string) => void written.push(text), isTTY };
    const io = {
      env,
      stdin: process.stdin,
      stdout: stderr,
      stderr,
      clock,
      log: 1,
      onStopSignal() {},
      onFatal() {},
      exit() {},
    };
    await withProgress(io, 'waiting', () => (isTTY && !env.TERM ? over : Promise.resolve()));
    return written.join('');
  }

  it('turns on a terminal once it takes long, and leaves a clean line', async () => {
    const text = await spin(true, 3);
    expect(text.match(/waiting \(\d+s\)/g)).toHaveLength(3);
    expect(text.endsWith('\r\u001b[2K')).toBe(true);
  });

  it('says nothing about what is quick', async () => {
    expect(await spin(true, 0)).toBe('');
  });

  it('says nothing where nobody looks', async () => {
    expect(await spin(false, 3)).toBe('');
    expect(await spin(true, 3, { TERM: 'dumb' })).toBe('');
  });

  it('lets a failure through', async () => {
    const { stderr } = await run(['get', 'meshes', '--address', 'http://127.0.0.1:1'], { tty: true });
    expect(stderr).toContain('no mesh-ca answers');
  });
});
