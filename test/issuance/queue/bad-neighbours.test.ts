import { describe, expect, it } from 'vitest';
import { createEndpointQueues, type QueuedBackend } from '../../../src/issuance/queue/endpoint-queues.ts';
import { createFakeClock, TEST_START } from '../../conformance/issuer-deps.ts';
import { settle } from '../../support/pass-time.ts';

const MESHES = 20;
const EVERY_MS = 50;
const FOR_MS = 6_000;

/** What one request takes at the backend of each mesh; the others answer in 3 ms. */
async function waitsBeside(takesMs: ReadonlyMap<number, number>) {
  const clock = createFakeClock(TEST_START);
  const queues = createEndpointQueues({ clock });
  const waits: number[] = [];
  const concurrency = { start: 16, max: 256, targetDelayMs: 50 };
  const backends = Array.from({ length: MESHES }, (_, mesh): QueuedBackend => {
    const metrics = {
      ...{ observe() {}, certificate() {}, request() {}, requestsOfCertificate() {} },
      waited(durationMs: number) {
        if (!takesMs.has(mesh)) waits.push(durationMs);
      },
    };
    return { mesh: `mesh-${mesh}`, name: 'vault', endpoint: 'https://vault', local: false, concurrency, metrics };
  });
  let asked = 0;
  for (let nowMs = 0; nowMs < FOR_MS; nowMs += 1) {
    for (const [mesh, backend] of backends.entries()) {
      if ((nowMs + 7 * mesh) % EVERY_MS !== 0) continue;
      if (!takesMs.has(mesh)) asked += 1;
      const deadline = clock.deadline(20_000);
      const work = () => clock.sleep(takesMs.get(mesh) ?? 3, deadline.signal);
      queues
        .run(backend, 'first', work, { signal: deadline.signal })
        .catch(() => {})
        .finally(() => deadline.clear());
    }
    clock.advance(1);
    await settle();
  }
  await queues.close();
  return { asked, waits: waits.sort((one, other) => one - other) };
}

describe('other meshes of the same endpoint', () => {
  it.each([
    ['one is dead', new Map([[0, 60_000]])],
    ['one is slow', new Map([[0, 1_500]])],
    [
      'one is dead and one is slow',
      new Map([
        [0, 60_000],
        [1, 1_500],
      ]),
    ],
  ])('wait for no more than 5 ms (99 of 100) while %s', async (_what, takesMs) => {
    const { asked, waits } = await waitsBeside(takesMs);
    expect(waits.length).toBeGreaterThan(0.99 * asked);
    expect(waits[Math.floor(0.99 * waits.length)]).toBeLessThanOrEqual(5);
  });
});
