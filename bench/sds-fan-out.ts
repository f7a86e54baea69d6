import { setTimeout as sleep } from 'node:timers/promises';
import { spreadOf } from './ask-at-rate.ts';
import type { SdsDataplanes } from './sds-dataplanes.ts';

const LOOK_MS = 200;
const DEADLINE_MS = 600_000;

/** @returns how long after the first of them, and after `sinceMs` at the latest, each was sent a bundle that was not among `known` */
export async function fanOutOf(dataplanes: SdsDataplanes, known: ReadonlySet<string>, count: number, sinceMs: number) {
  const ofNewest = () => [...dataplanes.bundles].filter(([version]) => !known.has(version)).at(-1)?.[1];
  await until(() => ofNewest()?.size === count, dataplanes);
  const sentAt = [...(ofNewest()?.values() ?? [])];
  const from = sentAt.reduce((first, at) => Math.min(first, at), sinceMs);
  return spreadOf(sentAt.map((at) => at - from));
}

/** @throws Error when it is not so after ten minutes */
export async function until(
  isSo: () => boolean | Promise<boolean>,
  { ended }: SdsDataplanes,
  lookMs = LOOK_MS,
): Promise<void> {
  const startedAt = performance.now();
  while (!(await isSo())) {
    if (performance.now() - startedAt > DEADLINE_MS)
      throw new Error(`not there after ${DEADLINE_MS} ms; ${ended[0] ?? ''}`);
    await sleep(lookMs);
  }
}
