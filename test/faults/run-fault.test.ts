import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FaultWorld } from './fault-world.ts';
import type { FaultRow } from './faults.ts';
import { runFault } from './run-fault.ts';
import { startVaultFakeWorld } from './vault-fake-world.ts';

const ROW: FaultRow = {
  name: 'wrong key for a moment',
  server: 'wrong key',
  lastsMs: 100,
  sees: ['ERR_ISSUER_RESPONSE'],
};

let world: FaultWorld;
beforeAll(async () => {
  world = await startVaultFakeWorld();
});
afterAll(() => world.close());

describe('the runner of faults', () => {
  it('has nothing to say about a backend that does as the table says', async () => {
    const result = await runFault(world, ROW);
    expect(result.complaints).toEqual([]);
    expect(result).toMatchObject({ backend: 'vault', server: 'fake', fault: ROW.name, served: 0, leaked: [] });
    expect(result.saw).toMatchObject([{ outcome: 'ERR_ISSUER_RESPONSE', count: result.asked }]);
    expect([result.issuingCallsPerCertificate, result.recoveryMs !== undefined]).toEqual([1, true]);
  });

  it('complains about what is left on the server and about secrets in answers and log, each for itself', async () => {
    let objects = 0;
    const { leaked, complaints } = await runFault(
      {
        ...world,
        leftovers: async () => {
          objects += 1;
          return [`object-${objects}`];
        },
        sensitive: () => ['"trustBundle"', 'certificate issued'],
      },
      ROW,
    );
    expect(leaked.join('\n')).toMatch(
      /^1 objects on the server, one is object-\d+\na secret in \d+ answers\na secret in \d+ lines of the log$/,
    );
    expect(complaints).toEqual(leaked.map((what) => `leaked: ${what}`));
  });
});
