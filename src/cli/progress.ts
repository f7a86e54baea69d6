import type { CliIo } from './cli-io.ts';

const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const FRAME_MS = 100;
/** What is done sooner needs no spinner. */
const QUIET_MS = 2000;
const CLEAR_LINE = '\r\u001b[2K';

/** Runs `work`; on a terminal, once it takes over 2 s, a spinner on standard error says what is waited for. */
export async function withProgress<T>(io: CliIo, text: string | (() => string), work: () => Promise<T>): Promise<T> {
  if (!io.stderr.isTTY || io.env.TERM === 'dumb') return work();
  const stop = new AbortController();
  const spinning = spin(io, text, stop.signal).catch(() => {});
  try {
    return await work();
  } finally {
    stop.abort();
    await spinning;
  }
}

async function spin(io: CliIo, text: string | (() => string), signal: AbortSignal): Promise<void> {
  const startedMs = io.clock.monotonicMs();
  await io.clock.sleep(QUIET_MS, signal);
  try {
    for (let frame = 0; ; frame += 1) {
      const seconds = Math.floor((io.clock.monotonicMs() - startedMs) / 1000);
      const told = typeof text === 'string' ? text : text();
      io.stderr.write(`${CLEAR_LINE}${FRAMES[frame % FRAMES.length]} ${told} (${seconds}s)`);
      await io.clock.sleep(FRAME_MS, signal);
    }
  } finally {
    io.stderr.write(CLEAR_LINE);
  }
}
