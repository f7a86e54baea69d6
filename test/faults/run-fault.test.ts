import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Calls, FaultWorld, Stage } from './fault-world.ts';
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

/** `calls` as if each of them had been made so often. */
const times = (factor: number, part: 'all' | 'issuing' | 'byService') => async (): Promise<Calls> => {
  const calls = await world.calls();
  if (part === 'byService') {
    return { ...calls, byService: new Map([...calls.byService].map(([service, count]) => [service, count * factor])) };
  }
  return { ...calls, [part]: calls[part] * factor };
};
let objects = 0;
const goWrong = async (stage: Stage) => world.faults['wrong key']?.begin(stage);

/** What is wrong with a backend, or with mesh-ca, and what the runner has to say about it. */
const WRONG: readonly {
  readonly name: string;
  readonly world?: () => Partial<FaultWorld>;
  readonly row?: Partial<FaultRow>;
  readonly complaint: RegExp;
}[] = [
  {
    name: 'callers see something that the table does not allow',
    row: { sees: ['ERR_ISSUER_UNAVAILABLE'] },
    complaint: /a caller saw ERR_ISSUER_RESPONSE: issuer\(vault/,
  },
  { name: 'an error lacks the words that help', row: { says: /abracadabra/ }, complaint: /does not say/ },
  {
    name: 'more than three calls ask for one certificate',
    world: () => ({ calls: times(4, 'byService') }),
    complaint: /4 issuing calls for one certificate/,
  },
  {
    name: 'more than three calls a certificate ask for some',
    world: () => ({ calls: times(4, 'issuing') }),
    complaint: /issuing calls for one certificate/,
  },
  {
    name: 'a backend is hammered',
    world: () => ({ calls: times(100, 'all') }),
    complaint: /calls for \d+ certificates/,
  },
  {
    name: 'a backend is called while nobody asks',
    world: () => {
      let all = 0;
      const calls = async () => {
        all += 15;
        return { ...(await world.calls()), all };
      };
      return { calls };
    },
    complaint: /15 calls while nobody asked/,
  },
  {
    name: 'something is left on the server',
    world: () => ({
      leftovers: async () => {
        objects += 1;
        return [`object-${objects}`];
      },
    }),
    complaint: /leaked: 1 objects on the server, one is object-\d+/,
  },
  {
    name: 'a secret is told',
    world: () => ({ sensitive: () => ['"trustBundle"', 'certificate issued'] }),
    complaint: /leaked: a secret in \d+ (answers|lines of the log)/,
  },
  // The last one: it stays as it is.
  {
    name: 'it does not recover',
    world: () => ({ faults: { 'wrong key': { begin: async () => {}, end: async (stage) => goWrong(stage) } } }),
    row: { sees: ['served'] },
    complaint: /recovery took Infinity ms, last seen: ERR_ISSUER_RESPONSE/,
  },
];

describe('the runner of faults', () => {
  it('has nothing to say about a backend that does as the table says', async () => {
    const result = await runFault(world, ROW);
    expect(result.complaints).toEqual([]);
    expect(result).toMatchObject({ backend: 'vault', server: 'fake', fault: ROW.name, served: 0, leaked: [] });
    expect(result.saw).toMatchObject([{ outcome: 'ERR_ISSUER_RESPONSE', count: result.asked }]);
    expect(result.recoveryMs).toBeLessThan(2_000);
  });

  it.each(WRONG)('complains when $name', async ({ world: changes, row, complaint }) => {
    const { complaints } = await runFault({ ...world, ...changes?.() }, { ...ROW, ...row });
    expect(complaints.join('\n')).toMatch(complaint);
  });
});
