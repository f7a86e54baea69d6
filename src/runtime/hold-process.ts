/** Longer than anybody waits; it is only there to be there. */
const TICK_MS = 60 * 60 * 1000;

/** Keeps the process alive until the function it returns is called: timers of the clock do not, and a command may wait for nothing but time. */
export function holdProcess(): () => void {
  const timer = setInterval(() => {}, TICK_MS);
  return () => clearInterval(timer);
}
