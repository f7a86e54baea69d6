import type { Screen } from '../support/screen.ts';

/** A screen whose last line tells how it stands. */
export interface LiveScreen extends Screen {
  /** Replaces the last line. Nothing where nobody sees it change. */
  status(text: string): void;
  /** Takes the last line away. */
  clear(): void;
}

/** Some terminals say that they have no columns at all. */
const UNKNOWN_WIDTH = 80;
const CLEAR_LINE = '\r\x1b[2K';

/** Everything that `screen` prints goes above the last line. */
export function createLiveScreen(screen: Screen, stdout: NodeJS.WriteStream): LiveScreen {
  const isLive = stdout.isTTY === true;
  let shown = '';
  const write = (text: string) => void stdout.write(text);
  const clear = () => {
    if (shown !== '') write(CLEAR_LINE);
    shown = '';
  };
  const above = (print: (text: string) => void) => (text: string) => {
    const last = shown;
    clear();
    print(text);
    if (last !== '') status(last);
  };
  function status(text: string): void {
    if (!isLive) return;
    // A line that wraps could not be taken back.
    shown = text.slice(0, Math.max(0, (stdout.columns || UNKNOWN_WIDTH) - 1));
    write(`${CLEAR_LINE}${shown}`);
  }
  return {
    step: above(screen.step),
    command: above(screen.command),
    plain: above(screen.plain),
    heading: above(screen.heading),
    error: above(screen.error),
    status,
    clear,
  };
}
