import type { Demo } from '../../../demo/demo.ts';
import { Closers } from '../../../demo/support/closers.ts';
import { makeTempDir } from '../../support/temp-dir.ts';

export interface QuietDemo {
  readonly demo: Demo;
  /** What it would have shown. */
  told(): string;
  /** @throws Error naming what could not be ended */
  close(): Promise<void>;
}

/** The demo's surroundings without a screen. */
export async function startQuietDemo(): Promise<QuietDemo> {
  const folder = await makeTempDir();
  const closers = new Closers();
  const stopping = new AbortController();
  const lines: string[] = [];
  const tell = (text: string) => void lines.push(text);
  return {
    demo: {
      closers,
      folder: folder.path,
      signal: stopping.signal,
      screen: { step: tell, command: tell, plain: tell, heading: tell, error: tell },
    },
    told: () => lines.join('\n'),
    close: async () => {
      stopping.abort();
      const failures = await closers.closeAll();
      await folder.remove();
      if (failures.length > 0) throw new Error(failures.join('\n'));
    },
  };
}
