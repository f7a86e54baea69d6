import { type RotationView, shareOf } from '../../src/cli/rotation-view.ts';
import { formatTable } from '../../src/cli/table.ts';
import type { Screen } from '../support/screen.ts';
import { waitedFor } from './follow.ts';
import type { LoadCounts, LoadSummary } from './load-counts.ts';
import type { RotatedUnderLoad, ScenarioReport } from './scenario.ts';

/** How it stands, in one line. */
export function statusText(view: RotationView, load: LoadCounts): string {
  const share = shareOf(view, view.state);
  const progress = share === undefined ? '' : ` ${share.done}/${share.of} ${share.words}`;
  const names = waitedFor(view).join(', ');
  const waiting = names === '' ? '' : `, waits for ${names}`;
  return `${load.requests} requests, ${load.failures} failed | ${view.state}${progress}${waiting}`;
}

const HEADERS = ['ROTATION', 'REQUESTS', 'FAILED', 'P50', 'P99', 'SECONDS', 'CERTIFICATES', 'AWAY', 'WAITED FOR'];

/** One line for each rotation and one for everything, then why requests failed. */
export function showReport(screen: Pick<Screen, 'heading' | 'plain'>, report: ScenarioReport): void {
  const { rotations, load, restarts } = report;
  const certificates = rotations.reduce((sum, one) => sum + one.certificates, 0);
  const all = ['all', String(load.requests), String(load.failures), ...latencies(load)];
  screen.heading('Results');
  screen.plain(
    formatTable(HEADERS, [
      ...rotations.map(row),
      [...all, '', String(certificates), `${restarts} restarts`, ''],
    ]).trimEnd(),
  );
  for (const { from, to, seconds } of rotations) {
    screen.plain(`${from} -> ${to}: ${seconds.map(([state, one]) => `${state} ${one.toFixed(1)} s`).join(', ')}`);
  }
  showReasons(screen, load);
}

export function showReasons(screen: Pick<Screen, 'plain'>, { reasons }: LoadSummary): void {
  for (const { reason, count } of reasons) screen.plain(`${count} times: ${reason}`);
}

function row({ from, to, load, seconds, certificates, awayMs, waitedFor }: RotatedUnderLoad): string[] {
  const sum = seconds.reduce((total, [, one]) => total + one, 0);
  return [
    `${from} -> ${to}`,
    ...[String(load.requests), String(load.failures), ...latencies(load)],
    ...[sum.toFixed(1), String(certificates), `${(awayMs / 1000).toFixed(1)} s`, waitedFor],
  ];
}

function latencies({ p50Ms, p99Ms }: { readonly p50Ms: number; readonly p99Ms: number }): string[] {
  return [p50Ms, p99Ms].map((ms) => `${ms.toFixed(1)} ms`);
}
