import type { CliOutput } from './cli-io.ts';

const CLEAR_BELOW = '\u001b[0J';
/** A line that is too long is cut by the terminal: a line that wraps would take two, and the way back up would be too short. */
const NO_WRAP = '\u001b[?7l';
const WRAP = '\u001b[?7h';

/** Lines at the end of a terminal that are drawn again and again in their place. */
export interface LiveBlock {
  draw(lines: readonly string[]): void;
  /** Takes the lines away: what is written next stands in their place. */
  clear(): void;
}

export function createLiveBlock(output: CliOutput): LiveBlock {
  let height = 0;
  const back = () => (height === 0 ? '' : `\r\u001b[${height}A${CLEAR_BELOW}`);
  return {
    draw(lines) {
      // One write: nobody sees it half drawn.
      output.write(`${back()}${NO_WRAP}${lines.map((line) => `${line}\n`).join('')}${WRAP}`);
      height = lines.length;
    },
    clear() {
      if (height > 0) output.write(back());
      height = 0;
    },
  };
}
