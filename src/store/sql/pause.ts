import { MessageChannel } from 'node:worker_threads';
import type { Clock } from '../../runtime/clock.ts';

/**
 * Sleeps, and keeps the process alive meanwhile. A sleeping clock does not, and at start nothing else does: the process would end in the
 * middle of its work with exit code 13.
 */
export async function pause(clock: Clock, ms: number): Promise<void> {
  const { port1 } = new MessageChannel();
  port1.ref();
  try {
    await clock.sleep(ms);
  } finally {
    port1.close();
  }
}
