import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createBuiltinIssuer } from '../../adapters/builtin/issuer.ts';
import { module } from '../../adapters/builtin/module.ts';
import { ConfigError } from '../../src/issuer/errors.ts';
import type { CaGenerations, IssuedCertificate, IssuerDeps, SecretAccess } from '../../src/issuer/issuer.ts';
import { parseCertificate } from '../../src/x509/certificate.ts';
import { decodePem } from '../../src/x509/pem.ts';
import { live, requestFor } from '../conformance/issuer.ts';
import { createTestDeps, type TestDeps } from '../conformance/issuer-deps.ts';
import { testRenewer, verified } from '../conformance/renewer.ts';
import { IDENTITY } from '../support/identity.ts';
import { inspectAll } from '../support/inspect-all.ts';

const CONTEXT = { mesh: 'default', backend: 'ca-1' };
const CERT = 'default.ca-builtin-cert-ca-1';
const KEY = 'default.ca-builtin-key-ca-1';
const GENERATIONS = 'default.ca-builtin-gens-ca-1';
const EC = { caCert: { keyType: 'EC-P256' } };
const DAY_MS = 24 * 3600 * 1000;

const create = (deps: IssuerDeps, conf: unknown = EC) =>
  createBuiltinIssuer(CONTEXT, module.parseConf(conf, CONTEXT), deps);
type BuiltinIssuer = ReturnType<typeof create>;
type Step = (issuer: BuiltinIssuer) => Promise<unknown>;

async function madeDeps(): Promise<TestDeps> {
  const deps = createTestDeps();
  await create(deps).ensure(live());
  return deps;
}
const made = madeDeps();

const issue = async (deps: IssuerDeps) => create(deps).sign(await requestFor(IDENTITY, 'EC-P256', 3600), live());
const generationsOf = (deps: IssuerDeps) => create(deps).generations(live());
const prepareNext: Step = (issuer) => issuer.prepareNext(live());
const dropOthers: Step = (issuer) => issuer.dropOthers(live());
/** The newest generation signs. */
const signWithNewest: Step = async (issuer) => {
  const { signing, others } = await issuer.generations(live());
  return issuer.signWith(others.at(-1) ?? signing, live());
};

async function takeSteps(deps: IssuerDeps, ...steps: readonly Step[]): Promise<void> {
  for (const step of steps) await step(create(deps));
}

/** The pair that a Kuma control plane would find. */
function rootForKuma({ stored }: TestDeps): Buffer | undefined {
  return decodePem(String(stored.get(CERT)))[0]?.der;
}

testRenewer('builtin', async () => ({ module, conf: EC, deps: await madeDeps() }));

class Crash extends Error {}

/** Dies at the n-th call, before it has taken effect or after; is dead from then on. */
function dyingAt(deps: TestDeps, n: number, when: 'before' | 'after'): IssuerDeps & { readonly calls: number } {
  let calls = 0;
  const dying =
    <A extends readonly unknown[], R>(work: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      calls += 1;
      if (calls > n || (calls === n && when === 'before')) throw new Crash();
      const result = await work(...args);
      if (calls === n) throw new Crash();
      return result;
    };
  const { read, createTogether, replace, remove, onChange } = deps.secrets;
  const secrets: SecretAccess = {
    onChange,
    read: dying(read),
    createTogether: dying(createTogether),
    replace: dying(replace),
    remove: dying(remove),
  };
  return {
    ...deps,
    secrets,
    get calls() {
      return calls;
    },
  };
}

function copyOf(deps: TestDeps): TestDeps {
  return createTestDeps({ secrets: Object.fromEntries(deps.stored), clock: deps.clock });
}

describe('a step of builtin that dies at any moment', () => {
  const signWithNext = ({ others: [next] }: CaGenerations): Step => {
    return (issuer) => issuer.signWith(next ?? Buffer.alloc(0), live());
  };
  /** How the step looks, of what it starts from. */
  const STEPS: readonly [name: string, before: readonly Step[], step: (start: CaGenerations) => Step][] = [
    ['preparing the second generation', [], () => prepareNext],
    ['signing with the second', [prepareNext], signWithNext],
    ['dropping the first', [prepareNext, signWithNewest], () => dropOthers],
    ['dropping the second, which never signed', [prepareNext], () => dropOthers],
    ['preparing the third', [prepareNext, signWithNewest, dropOthers], () => prepareNext],
    [
      'dropping the second for the third',
      [prepareNext, signWithNewest, dropOthers, prepareNext, signWithNewest],
      () => dropOthers,
    ],
  ];
  for (const [name, before, stepOf] of STEPS) {
    for (const when of ['before', 'after'] as const) {
      it(`${name}: the CA still signs with what is trusted, and the step is finished when it is taken again (${when} each call)`, async () => {
        const start = await madeDeps();
        await takeSteps(start, ...before);
        const earlier = await issue(start);
        const atStart = await generationsOf(start);
        const step = stepOf(atStart);
        const undisturbed = copyOf(start);
        await takeSteps(undisturbed, step);
        const want = await generationsOf(undisturbed);

        let points = 0;
        for (let n = 1, isDone = false; !isDone; n += 1) {
          const deps = copyOf(start);
          const dying = dyingAt(deps, n, when);
          const outcome = await step(create(dying)).then(
            () => 'done',
            (error: unknown) => (error instanceof Crash ? 'crashed' : error),
          );
          isDone = dying.calls < n;
          expect(outcome).toBe(isDone ? 'done' : 'crashed');
          points += 1;
          await expectConsistent(deps);
          const now = await generationsOf(deps);
          const wasDropped = now.others.length < atStart.others.length;
          if (!wasDropped) expect(verified(earlier, [now.signing, ...now.others], deps.clock.now())).toBe(true);

          await takeSteps(deps, step);
          const after = await generationsOf(deps);
          expect(after.signing).toEqual(want.signing);
          expect(after.others).toHaveLength(want.others.length);
          await expectConsistent(deps);
          if (step === dropOthers) {
            expect(rootForKuma(deps)).toEqual(after.signing);
            await expectConsistent(copyWithout(deps, GENERATIONS));
          }
        }
        expect(points).toBeGreaterThan(2);
      });
    }
  }
});

/** A new issuer signs, and the bundle that it tells verifies what it signed. */
async function expectConsistent(deps: TestDeps): Promise<IssuedCertificate> {
  const issued = await issue(deps);
  const { roots } = await create(deps).trustBundle(live());
  expect(verified(issued, roots, deps.clock.now())).toBe(true);
  const { signing, others } = await generationsOf(deps);
  expect(issued.roots).toEqual([signing]);
  expect(roots).toEqual([signing, ...others]);
  return issued;
}

function copyWithout(deps: TestDeps, ...names: readonly string[]): TestDeps {
  const copy = copyOf(deps);
  for (const name of names) copy.stored.delete(name);
  return copy;
}

describe('any sequence of steps of builtin', () => {
  const anyStep = fc.oneof(
    fc.constant({ kind: 'prepareNext' as const }),
    fc.record({ kind: fc.constant('signWith' as const), which: fc.nat({ max: 8 }) }),
    fc.constant({ kind: 'dropOthers' as const }),
    fc.constant({ kind: 'ensure' as const }),
  );
  const crash = fc.option(
    fc.record({ n: fc.integer({ min: 1, max: 10 }), when: fc.constantFrom('before' as const, 'after' as const) }),
  );

  type AnyStep =
    | { readonly kind: 'prepareNext' | 'dropOthers' | 'ensure' }
    | { readonly kind: 'signWith'; which: number };
  function stepOf(what: AnyStep): Step {
    switch (what.kind) {
      case 'prepareNext':
        return prepareNext;
      case 'dropOthers':
        return dropOthers;
      case 'ensure':
        return (issuer) => issuer.ensure(live());
      case 'signWith':
        return async (issuer) => {
          const { signing, others } = await issuer.generations(live());
          const roots = [signing, ...others];
          return issuer.signWith(roots[what.which % roots.length] ?? signing, live());
        };
    }
  }

  it('with crashes anywhere: what signs is always trusted, and only dropping takes trust away', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(anyStep, crash), { maxLength: 8 }), async (history) => {
        const deps = copyOf(await made);
        const issued = [await expectConsistent(deps)];
        for (const [what, dies] of history) {
          const before = await generationsOf(deps);
          const running = dies === null ? deps : dyingAt(deps, dies.n, dies.when);
          await stepOf(what)(create(running)).catch((error: unknown) => {
            if (!(error instanceof Crash || isFull(error))) throw error;
          });
          issued.push(await expectConsistent(deps));
          const after = await generationsOf(deps);
          const [was, is] = [before, after].map(({ signing, others }) => [signing, ...others]);
          const lost = (was ?? []).filter((root) => !is?.some((other) => other.equals(root)));
          if (what.kind !== 'dropOthers') expect(lost).toEqual([]);
          if (what.kind !== 'signWith') expect(after.signing).toEqual(before.signing);
          expect(lost.some((root) => root.equals(before.signing))).toBe(false);
          for (const one of issued) {
            const isTrusted = is?.some((root) => one.roots.some((own) => own.equals(root))) === true;
            expect(verified(one, is ?? [], deps.clock.now())).toBe(isTrusted);
          }
        }
      }),
      { numRuns: 20 },
    );
  });

  it('by two instances at once, in any order of their reads and writes, ends as one of them alone would end', async () => {
    const twoSteps = fc.tuple(
      anyStep,
      anyStep,
      fc.constantFrom<readonly Step[]>([], [prepareNext], [prepareNext, signWithNewest]),
    );
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), twoSteps, async (scheduler, [one, other, before]) => {
        const deps = copyOf(await made);
        await takeSteps(deps, ...before);
        const { read, replace } = deps.secrets;
        const secrets: SecretAccess = {
          ...deps.secrets,
          read: scheduler.scheduleFunction(read),
          replace: scheduler.scheduleFunction(replace),
        };
        const refused: unknown[] = [];
        const both = [one, other].map((what) =>
          stepOf(what)(create({ ...deps, secrets })).catch((error: unknown) => void refused.push(error)),
        );
        await scheduler.waitFor(Promise.all(both));
        // Only what the other one has dropped meanwhile can be refused.
        for (const error of refused) expect(error).toMatchObject({ code: 'ERR_CONFLICT' });
        await expectConsistent(deps);
        await takeSteps(deps, dropOthers);
        expect(rootForKuma(deps)).toEqual((await expectConsistent(deps)).roots[0]);
        await expectConsistent(copyWithout(deps, GENERATIONS));
      }),
      { numRuns: 20 },
    );
  });
});

describe('an instance of builtin that is held up', () => {
  const STEPS: readonly [name: string, before: readonly Step[], step: Step][] = [
    ['preparing', [], prepareNext],
    ['dropping others', [prepareNext, signWithNewest], dropOthers],
    ['storing the mesh', [prepareNext, signWithNewest, dropOthers], (issuer) => issuer.ensure(live())],
  ];
  for (const [name, before, step] of STEPS) {
    it(`${name}, at any moment, while others renew the CA: harms neither trust nor what Kuma finds`, async () => {
      for (let n = 1, isReached = true; isReached; n += 1) {
        const deps = copyOf(await made);
        await takeSteps(deps, ...before);
        let calls = 0;
        const held =
          <A extends readonly unknown[], R>(work: (...args: A) => Promise<R>) =>
          async (...args: A): Promise<R> => {
            calls += 1;
            if (calls === n) await takeSteps(deps, prepareNext, signWithNewest, dropOthers);
            return work(...args);
          };
        const { read, replace } = deps.secrets;
        await step(create({ ...deps, secrets: { ...deps.secrets, read: held(read), replace: held(replace) } }));
        isReached = calls >= n;
        const { signing } = await generationsOf(deps);
        await expectConsistent(deps);
        expect(rootForKuma(deps)).toEqual(signing);
        await expectConsistent(copyWithout(deps, GENERATIONS));
      }
    });
  }
});

function isFull(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('8 generations');
}

describe("Kuma's two secrets", () => {
  it('hold the first generation until it is dropped, and then the one that signs, in the same form', async () => {
    const deps = await madeDeps();
    const before = [deps.stored.get(CERT), deps.stored.get(KEY)];
    await takeSteps(deps, prepareNext, signWithNewest);
    expect([deps.stored.get(CERT), deps.stored.get(KEY)]).toEqual(before);
    await takeSteps(deps, dropOthers);
    const { signing } = await generationsOf(deps);
    expect(rootForKuma(deps)).toEqual(signing);
    expect(String(deps.stored.get(KEY))).toMatch(/^-----BEGIN EC PRIVATE KEY-----\n/);
    expect([...deps.stored.keys()].sort()).toEqual([CERT, GENERATIONS, KEY]);
  });

  it('hold no key of a generation that was dropped, and neither does ours', async () => {
    const deps = await madeDeps();
    const oldKey = String(deps.stored.get(KEY)).split('\n')[1] ?? 'nothing';
    await takeSteps(deps, prepareNext, signWithNewest);
    expect(String(deps.stored.get(GENERATIONS))).toContain(oldKey);
    await takeSteps(deps, dropOthers);
    for (const data of deps.stored.values()) expect(String(data)).not.toContain(oldKey);
  });

  it('are put right when the mesh is stored, after a crash or by whoever changed them', async () => {
    const deps = await madeDeps();
    await takeSteps(deps, prepareNext, signWithNewest, dropOthers);
    const right = new Map(deps.stored);
    deps.stored.delete(KEY);
    deps.stored.set(CERT, (await madeDeps()).stored.get(CERT) ?? Buffer.alloc(0));
    await create(deps).ensure(live());
    expect(deps.stored).toEqual(right);
  });

  it('are left to whoever keeps changing them: the step is taken all the same', async () => {
    const deps = await madeDeps();
    await takeSteps(deps, prepareNext, signWithNewest);
    const { signing } = await generationsOf(deps);
    const replace: SecretAccess['replace'] = async (name, before, after) =>
      name === GENERATIONS && deps.secrets.replace(name, before, after);
    const generations = await create({ ...deps, secrets: { ...deps.secrets, replace } }).dropOthers(live());
    expect(generations).toEqual({ signing, others: [] });
    expect((await expectConsistent(deps)).roots).toEqual([signing]);
  });
});

describe('the secret that tells the generations of builtin', () => {
  const generation = (deps: TestDeps) => JSON.parse(String(deps.stored.get(GENERATIONS)));
  type Stored = { signing: unknown; generations: Record<string, unknown>[] };
  const BROKEN: readonly [name: string, change: (stored: Stored) => unknown][] = [
    ['is empty', () => ''],
    ['is no JSON', () => '{"signing": 1'],
    ['is another JSON', () => []],
    ['has no generation', (stored) => ({ ...stored, generations: [] })],
    ['lets a generation sign that is not there', (stored) => ({ ...stored, signing: 3 })],
    ['lets none sign', ({ generations }) => ({ generations })],
    ['has two of one number', ({ generations: [one] }) => ({ signing: 1, generations: [one, one] })],
    ['has them in another order', ({ signing, generations }) => ({ signing, generations: [...generations].reverse() })],
    [
      'lacks a key',
      ({ signing, generations }) => ({ signing, generations: generations.map(({ key, ...one }) => one) }),
    ],
    ['has a field that is not known', (stored) => ({ ...stored, next: 3 })],
    [
      'has too many',
      ({ signing, generations: [one] }) => ({
        signing,
        generations: Array.from({ length: 9 }, (_, i) => ({ ...one, number: i + 1 })),
      }),
    ],
  ];
  for (const [name, change] of BROKEN) {
    it(`is refused when it ${name}: nothing signs, nothing is made anew, and no secret is told`, async () => {
      const deps = await madeDeps();
      await takeSteps(deps, prepareNext);
      const changed = change(generation(deps));
      deps.stored.set(GENERATIONS, Buffer.from(typeof changed === 'string' ? changed : JSON.stringify(changed)));
      const stored = new Map(deps.stored);
      const ways: readonly Step[] = [
        async (issuer) => issuer.sign(await requestFor(IDENTITY, 'EC-P256', 60), live()),
        (issuer) => issuer.trustBundle(live()),
        (issuer) => issuer.ensure(live()),
        (issuer) => issuer.generations(live()),
        prepareNext,
        dropOthers,
      ];
      for (const way of ways) {
        const error: unknown = await way(create(deps)).catch((caught: unknown) => caught);
        expect(error).toBeInstanceOf(ConfigError);
        expect(error).toMatchObject({
          message: `failed to load CA key pair for Mesh "default" and backend "ca-1": secret "${GENERATIONS}" of mesh "default" does not tell the generations of the CA and which of them signs`,
          fix: expect.stringContaining('backup'),
        });
      }
      expect(deps.stored).toEqual(stored);
      expect(await inspectAll(create(deps))).toMatchObject([
        { name: 'builtin.secrets-present', status: 'failed', fix: expect.stringContaining('backup') },
      ]);
    });
  }

  it('is refused when a key is not that of its certificate, naming the generation', async () => {
    const deps = await madeDeps();
    await takeSteps(deps, prepareNext);
    const stored = generation(deps);
    [stored.generations[0].key, stored.generations[1].key] = [stored.generations[1].key, stored.generations[0].key];
    deps.stored.set(GENERATIONS, Buffer.from(JSON.stringify(stored)));
    const error: unknown = await create(deps)
      .trustBundle(live())
      .catch((caught: unknown) => caught);
    expect(error).toMatchObject({ message: expect.stringContaining('key of generation 1 in secret') });
    const secret = String(stored.generations[0].key).split('\n')[1] ?? 'nothing';
    expect(`${error}${JSON.stringify(error)}`).not.toContain(secret);
    expect(await inspectAll(create(deps))).toMatchObject([
      { name: 'builtin.secrets-present', status: 'passed' },
      { name: 'builtin.key-matches', status: 'failed' },
    ]);
  });

  it('never makes anything but a ConfigError of what it holds', async () => {
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.json(), fc.string()), async (text) => {
        const deps = createTestDeps({ secrets: { [GENERATIONS]: text } });
        await expect(create(deps).trustBundle(live())).rejects.toBeInstanceOf(ConfigError);
      }),
    );
  });

  it('may go once its only generation stands in the other two as well: the same CA signs on', async () => {
    const deps = await madeDeps();
    await takeSteps(deps, prepareNext, signWithNewest, dropOthers);
    const { roots } = await issue(deps);
    expect((await expectConsistent(copyWithout(deps, GENERATIONS))).roots).toEqual(roots);
  });

  it('has a name that no other backend takes, and that is good wherever the name of the certificate is', () => {
    const backend = fc.stringMatching(/^[a-z0-9.-]{1,40}$/);
    const used = (name: string) =>
      module.usedSecrets(module.parseConf({}, CONTEXT), { mesh: 'default', backend: name });
    fc.assert(
      fc.property(backend, backend, (one, other) => {
        expect(new Set(used(one)).size).toBe(3);
        expect(used(one)[2]?.length).toBe(used(one)[0]?.length);
        if (one !== other) expect(new Set([...used(one), ...used(other)]).size).toBe(6);
      }),
    );
    for (const name of ['gens-ca', 'cert-ca', 'ca-gens', 'ca-builtin-gens-ca']) {
      expect(used(name).some((secret) => used('ca').includes(secret))).toBe(false);
    }
  });

  it('may be missing when the Mesh is stored, unlike the other two', () => {
    expect(module.laterSecrets?.(module.parseConf({}, CONTEXT), CONTEXT)).toEqual([GENERATIONS]);
  });
});

describe('the next generation of builtin', () => {
  it('is what caCert says now', async () => {
    const deps = await madeDeps();
    const { others } = await create(deps, { caCert: { keyType: 'EC-P384', expiration: '1y' } }).prepareNext(live());
    const [next] = others.map(parseCertificate);
    expect(next?.publicKey?.type).toBe('EC-P384');
    expect(next?.notAfter).toEqual(new Date(Math.floor(deps.clock.now().getTime() / 1000) * 1000 + 365 * DAY_MS));
  });

  it('can be made and sign when the one before has expired', async () => {
    const deps = await madeDeps();
    deps.clock.advance(3660 * DAY_MS);
    await expect(issue(deps)).rejects.toMatchObject({
      code: 'ERR_ISSUER_DENIED',
      fix: expect.stringContaining('mesh-ca rotate default --to ca-1'),
    });
    await takeSteps(deps, prepareNext, signWithNewest);
    await expectConsistent(deps);
  });

  it('is made anew when the one that was to come has expired before it ever signed', async () => {
    const deps = await madeDeps();
    await create(deps, { caCert: { keyType: 'EC-P256', expiration: '1h' } }).prepareNext(live());
    deps.clock.advance(2 * 3600_000);
    const { others } = await create(deps).prepareNext(live());
    expect(others).toHaveLength(2);
    expect(parseCertificate(others[1] ?? Buffer.alloc(0)).notAfter > deps.clock.now()).toBe(true);
    await takeSteps(deps, signWithNewest);
    expect((await expectConsistent(deps)).roots).toEqual([others[1]]);
  });

  it('is refused when eight are trusted: somebody ought to end a rotation first', async () => {
    const deps = await madeDeps();
    for (let number = 2; number <= 8; number += 1) await takeSteps(deps, prepareNext, signWithNewest);
    await expect(create(deps).prepareNext(live())).rejects.toMatchObject({
      code: 'ERR_CONFLICT',
      message: expect.stringMatching(/^8 generations/),
      fix: expect.stringContaining('mesh-ca rotate'),
    });
    await expectConsistent(deps);
  });

  it('is given up with a conflict when others never let it through', async () => {
    const deps = await madeDeps();
    const secrets = { ...deps.secrets, replace: async () => false };
    await expect(create({ ...deps, secrets }).prepareNext(live())).rejects.toMatchObject({ code: 'ERR_CONFLICT' });
  });

  it('is not stored when the caller has gone while its key was made', async () => {
    const deps = await madeDeps();
    const stored = new Map(deps.stored);
    const controller = new AbortController();
    const preparing = create(deps).prepareNext({ signal: controller.signal });
    controller.abort(new Error('the caller hung up'));
    await expect(preparing).rejects.toThrow('the caller hung up');
    expect(deps.stored).toEqual(stored);
  });

  it('of a CA that was never made is refused in the words of Kuma', async () => {
    const deps = createTestDeps();
    for (const step of [prepareNext, dropOthers, signWithNewest]) {
      await expect(step(create(deps))).rejects.toMatchObject({ message: expect.stringContaining(`name="${CERT}"`) });
    }
    expect(deps.stored.size).toBe(0);
  });
});

describe('inspection of the generations of builtin', () => {
  const find = async (deps: TestDeps, name: string, conf: unknown = EC) =>
    (await inspectAll(create(deps, conf))).find((check) => check.name === `builtin.${name}`);

  it('tells which signs and which are trusted', async () => {
    const deps = await madeDeps();
    const told: (string | undefined)[] = [(await find(deps, 'generations'))?.message];
    for (const step of [prepareNext, signWithNewest, dropOthers]) {
      await takeSteps(deps, step);
      told.push((await find(deps, 'generations'))?.message);
    }
    expect(told).toEqual([
      'generation 1 signs; no other is trusted',
      'generation 1 signs; also trusted: 2',
      'generation 2 signs; also trusted: 1',
      'generation 2 signs; no other is trusted',
    ]);
  });

  it('warns of one that is trusted and has expired', async () => {
    const deps = await madeDeps();
    deps.clock.advance(3600 * DAY_MS);
    await takeSteps(deps, prepareNext, signWithNewest);
    expect(await find(deps, 'ca-valid')).toMatchObject({ status: 'passed' });
    deps.clock.advance(60 * DAY_MS);
    expect(await find(deps, 'generations')).toMatchObject({
      status: 'warning',
      cause: 'the root of generation 1 has expired',
      fix: expect.stringContaining('mesh-ca rotate default --to ca-1'),
    });
  });

  it('says how a CA gets the key that the conf asks for', async () => {
    const deps = await madeDeps();
    const conf = { caCert: { keyType: 'EC-P384' } };
    expect(await find(deps, 'key-type', conf)).toMatchObject({
      status: 'warning',
      fix: expect.stringContaining('mesh-ca rotate default --to ca-1'),
    });
    const steps: readonly Step[] = [prepareNext, signWithNewest];
    for (const step of steps) await step(create(deps, conf));
    expect(await find(deps, 'key-type', conf)).toMatchObject({ status: 'passed' });
  });
});
