import type { CliIo, CliOutput } from './cli-io.ts';

/** Only a terminal that says so in its locale, and whatever is no terminal, gets signs outside ASCII. */
export function showsUnicode(output: CliOutput, env: CliIo['env']): boolean {
  return !output.isTTY || /utf-?8/i.test(env.LC_ALL || env.LC_CTYPE || env.LANG || '');
}
