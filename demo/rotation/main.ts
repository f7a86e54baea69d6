import { setMaxListeners } from 'node:events';
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Demo, ROOT } from '../demo.ts';
import { Closers } from '../support/closers.ts';
import { runToEnd } from '../support/run-to-end.ts';
import { createScreen } from '../support/screen.ts';
import { listenForStop } from '../support/stop-signals.ts';
import { makeTempFolder } from '../support/temp-folder.ts';
import { createLiveScreen, type LiveScreen } from './live-line.ts';
import type { LoadSummary } from './load-counts.ts';
import { rotateUnchecked, rotateUnderLoad } from './scenario.ts';
import { showReasons, showReport, statusText } from './show-report.ts';

/**
 * `npm run demo:rotation`: three rotations of the CA below real Envoys under load. Exit code 1 when a single request fails. `-- --unchecked` shows what the
 * rotation prevents: one change of the CA without waiting for anybody, where requests do fail.
 */
async function runDemo(demo: Demo, live: LiveScreen, unchecked: boolean): Promise<void> {
  await access(join(ROOT, 'dist/src/cli/main.js')).catch(() => {
    throw new Error('mesh-ca is not built: run `npm run build`');
  });
  if (unchecked) {
    const { load, recoveredAfterMs } = await rotateUnchecked(demo);
    showReasons(demo.screen, load);
    const end = recoveredAfterMs === undefined ? 'and that went on' : `and none any more after ${recoveredAfterMs} ms`;
    throw new Error(`${failed(load)} until laggard could learn of the change, ${end}`);
  }
  demo.screen.step('three rotations of the CA of a mesh, under load, while one proxy lags and mesh-ca is restarted');
  const report = await rotateUnderLoad({ demo, show: (view, load) => live.status(statusText(view, load.total())) });
  live.clear();
  showReport(demo.screen, report);
  if (report.load.failures > 0) throw new Error(failed(report.load));
}

const failed = ({ failures, requests }: LoadSummary) => `${failures} of ${requests} requests failed`;

const signal = listenForStop();
// Every server and every wait listens for the end.
setMaxListeners(0, signal, process);
const screen = createLiveScreen(createScreen(process.stdout, process.stderr, process.env), process.stdout);
const closers = new Closers();
await runToEnd(
  { screen, closers, signal },
  async () => {
    const { values } = parseArgs({ options: { unchecked: { type: 'boolean', default: false } } });
    const folder = await makeTempFolder(closers);
    await runDemo({ screen, closers, signal, folder }, screen, values.unchecked);
  },
  screen.clear,
);
