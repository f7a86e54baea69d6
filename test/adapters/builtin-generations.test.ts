import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { module } from '../../adapters/builtin/module.ts';
import { ConfigError } from '../../src/issuer/errors.ts';
import type { SecretAccess } from '../../src/issuer/issuer.ts';
import { parseCertificate } from '../../src/x509/certificate.ts';
import { live, requestFor } from '../conformance/issuer.ts';
import { createTestDeps, type TestDeps } from '../conformance/issuer-deps.ts';
import { testRenewer } from '../conformance/renewer.ts';
import { IDENTITY } from '../support/identity.ts';
import { inspectAll } from '../support/inspect-all.ts';
import {
  CERT,
  CONTEXT,
  copyWithout,
  create,
  dropOthers,
  EC,
  expectConsistent,
  GENERATIONS,
  generationsOf,
  issue,
  KEY,
  madeDeps,
  prepareNext,
  rootForKuma,
  type Step,
  signWithNewest,
  takeSteps,
} from './builtin-backend.ts';

const DAY_MS = 24 * 3600 * 1000;

testRenewer('builtin', async () => ({ module, conf: EC, deps: await madeDeps() }));

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
