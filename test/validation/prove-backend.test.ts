import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { module as builtin } from '../../adapters/builtin/module.ts';
import { module as provided } from '../../adapters/provided/module.ts';
import type { Backend } from '../../src/backends/backend.ts';
import { IssuancePendingError, IssuerUnavailableError, RequestInvalidError } from '../../src/issuer/errors.ts';
import { type Check, type IssuerModule, isProvisioner } from '../../src/issuer/issuer.ts';
import { parseCommonName } from '../../src/mesh/common-name.ts';
import { CERTIFICATE_CHECKS } from '../../src/validation/certificate-checks.ts';
import { failedViolations, type Proof, proofJson, proveBackend } from '../../src/validation/prove-backend.ts';
import { generateKeyPair } from '../../src/x509/key-pair.ts';
import {
  createFakeClock,
  createTestDeps,
  type FakeClock,
  TEST_START,
  type TestDeps,
} from '../conformance/issuer-deps.ts';
import { makeCa } from '../conformance/make-ca.ts';
import { settle } from '../support/pass-time.ts';
import { type Bends, backendOf, type CallName, CHECKS, createBentBackend, found, proveDeps } from './proving-ground.ts';

const live = () => ({ signal: new AbortController().signal });
const CERTIFICATE = CERTIFICATE_CHECKS.map(({ name }) => name);

async function prove(bends: Bends): Promise<Proof> {
  return proveBackend(createBentBackend(bends).backend, proveDeps(bends.clock), live());
}

/** Only the adapter's own: name -> status. */
function own({ checks }: Proof): Record<string, string> {
  return Object.fromEntries(
    checks.filter(({ name }) => !name.startsWith('certificate.')).map(({ name, status }) => [name, status]),
  );
}

function certificateStatuses({ checks }: Proof): Set<string> {
  return new Set(checks.filter(({ name }) => name.startsWith('certificate.')).map(({ status }) => status));
}

function of({ checks }: Proof, name: string) {
  return checks.find((check) => check.name === name);
}

/** Checks that did not pass, but for those that had nothing to look at. */
const troubleOf = ({ checks }: Proof) =>
  checks.filter(
    ({ name, status }) => status !== 'passed' && !(status === 'skipped' && name === 'certificate.not-kept'),
  );

describe('the proof of a good backend', () => {
  it('holds every check once, in the order of the tables, and the ends of its CAs', async () => {
    const { backend, cas } = createBentBackend();
    const proof = await proveBackend(backend, proveDeps(), live());
    expect(proof).toMatchObject({ mesh: 'default', backend: 'bent-1', type: 'bent', ok: true, retry: false });
    expect(proof.backendHash).toBe(backend.hash);
    expect(proof.checks.map(({ name }) => name)).toEqual([...CHECKS.map(({ name }) => name), ...CERTIFICATE]);
    expect(proof.checks.every(({ status, durationMs }) => status === 'passed' && durationMs >= 0)).toBe(true);
    expect(proof.rootExpiresAt).toEqual(cas.root.certificate.notAfter);
    expect(proof.caExpiresAt).toEqual(cas.root.certificate.notAfter);
  });

  it('is not counted among certificates', async () => {
    const counted: string[] = [];
    const { backend } = createBentBackend();
    backend.count = (outcome) => void counted.push(outcome);
    expect((await proveBackend(backend, proveDeps(), live())).ok).toBe(true);
    expect(counted).toEqual([]);
  });

  it('works with the other profile, too', async () => {
    const proof = await proveBackend(createBentBackend().backend, { ...proveDeps(), profile: 'spiffe' }, live());
    expect(troubleOf(proof)).toEqual([]);
  });

  it('works with a template that joins as many tags as have room in a common name', async () => {
    const tags = ['kuma.io/service', 'a', 'b', 'c', 'd', 'e', 'f'].map((tag) => `{{ tag "${tag}" }}`);
    const template = parseCommonName(`${tags.join('-')}.mesh`);
    const proof = await prove({ subject: (who) => ({ commonName: template.render(who), dnsNames: [] }) });
    expect(troubleOf(proof)).toEqual([]);
  });

  it('works with a backend that makes key and certificate itself', async () => {
    const proof = await prove({ options: { issuer: keyMaker() } });
    expect(troubleOf(proof)).toEqual([]);
  });
});

function keyMaker() {
  const { backend } = createBentBackend();
  const unused = () => Promise.reject(new Error('not to be called'));
  return {
    subject: () => ({ commonName: '', dnsNames: [] }),
    abilities: async () => ({ sign: false, signsCsrAsIs: false, issueKeyPair: true, keyTypes: [] }),
    sign: unused,
    trustBundle: (call: { signal: AbortSignal }) =>
      backend.call('trustBundle', (issuer, inner) => issuer.trustBundle(inner), call),
    inspect: async ({ report }: { report(check: Check): void }) => {
      for (const { name } of CHECKS) report(found(name));
    },
    close: async () => {},
    async issueKeyPair(request: Parameters<Backend['issueKeyPair']>[0], call: { signal: AbortSignal }) {
      const { spkiDer, pkcs8Der } = await generateKeyPair('EC-P256');
      const signed = await backend.call(
        'sign',
        (issuer, inner) => issuer.sign({ ...request, spkiDer, csrDer: spkiDer }, inner),
        call,
      );
      return { ...signed, privateKeyDer: pkcs8Der };
    },
  };
}

describe("an adapter's own checks", () => {
  const [reachable, fits, valid] = CHECKS.map(({ name }) => name) as [string, string, string];
  const reports = (...checks: readonly Check[]): Bends => ({
    inspect: async ({ report }) => {
      for (const check of checks) report(check);
    },
  });
  const bad = (name: string, more: Partial<Check> = {}) => found(name, { status: 'failed', ...more });

  it('are told in words that no terminal obeys, and in no more than anybody reads', async () => {
    const words = `a\u001b[2K\r\nb${'x'.repeat(5000)}`;
    const { backend } = createBentBackend(reports(bad(reachable, { message: words, cause: words, fix: words })));
    const { checks } = await proveBackend(backend, proveDeps(), live());
    const plain = expect.stringMatching(/^a \[2K bx{1900,2000}…$/);
    expect(checks[0]).toMatchObject({ name: reachable, message: plain, cause: plain, fix: plain });
  });

  it('that block the certificate: none is asked, and each of its checks names the one', async () => {
    const { backend, requests } = createBentBackend(reports(bad(reachable)));
    const proof = await proveBackend(backend, proveDeps(), live());
    expect(requests).toEqual([]);
    expect(own(proof)).toEqual({ [reachable]: 'failed', [fits]: 'skipped', [valid]: 'skipped' });
    expect(certificateStatuses(proof)).toEqual(new Set(['skipped']));
    expect(new Set(proof.checks.slice(1).map(({ message }) => message))).toEqual(
      new Set([`not looked at: depends on ${reachable}`]),
    );
    expect(proof).not.toHaveProperty('caExpiresAt');
  });

  it('that do not block it: one is asked all the same', async () => {
    const proof = await prove(reports(found(reachable), bad(fits), found(valid)));
    expect(proof.ok).toBe(false);
    expect(certificateStatuses(proof)).toEqual(new Set(['passed']));
  });

  it('that were left out depend on the one that failed before them', async () => {
    const proof = await prove(reports(found(reachable), bad(fits)));
    const message = `not looked at: depends on ${fits}`;
    expect(of(proof, valid)).toMatchObject({ status: 'skipped', message, dependsOn: fits });
    expect(proofJson(proof)).toMatchObject({
      checks: expect.arrayContaining([expect.objectContaining({ message, dependsOn: fits })]),
    });
  });

  it('that have nothing to look at say why, whatever else failed', async () => {
    const skipped = found(reachable, { status: 'skipped', message: 'not looked at: there is no TLS' });
    const proof = await prove(reports(skipped, bad(fits), found(valid)));
    expect(of(proof, reachable)).toMatchObject(skipped);
    expect(of(proof, reachable)).not.toHaveProperty('dependsOn');
    expect((await prove(reports(skipped, found(fits), found(valid)))).ok).toBe(true);
  });

  it('stand in the order of the table, whatever the order they are told in', async () => {
    const proof = await prove(reports(found(valid), found(fits), found(reachable)));
    expect(Object.keys(own(proof))).toEqual([reachable, fits, valid]);
  });

  it('have the field of their rule, unless they name another', async () => {
    const proof = await prove(reports(found(reachable), bad(fits, { field: 'pki' }), found(valid)));
    expect(of(proof, reachable)?.field).toBe('address');
    expect(of(proof, fits)?.field).toBe('pki');
    expect(of(proof, valid)).not.toHaveProperty('field');
  });

  it.each([
    ['is not in its table', found('bent.unheard-of')],
    ['was told before', found(reachable)],
  ])('that its adapter reports though it %s are an error of ours', async (_, odd) => {
    await expect(prove(reports(found(reachable), odd))).rejects.toThrow(TypeError);
  });

  it('that an adapter throws on, with an error of ours: the first that is owed has failed', async () => {
    const proof = await prove({
      inspect: async ({ report }) => {
        report(found(reachable));
        throw new IssuerUnavailableError('connection reset', { fix: 'look at the firewall' });
      },
    });
    expect(own(proof)).toEqual({ [reachable]: 'passed', [fits]: 'failed', [valid]: 'skipped' });
    expect(of(proof, fits)).toMatchObject({
      cause: expect.stringContaining('connection reset'),
      fix: 'look at the firewall',
      retry: true,
    });
  });

  it('that an adapter breaks on are told blandly', async () => {
    const proof = await prove({ inspect: () => Promise.reject(new Error('token s.12345')) });
    expect(of(proof, reachable)).toMatchObject({ status: 'failed', cause: 'an unexpected error' });
    expect(JSON.stringify(proof)).not.toContain('s.12345');
  });

  it('that failed may all pass by themselves: so may the proof', async () => {
    const passing = await prove(reports(bad(reachable, { retry: true })));
    expect(passing).toMatchObject({ ok: false, retry: true });
    const lasting = await prove(reports(found(reachable), bad(fits, { retry: true }), bad(valid)));
    expect(lasting).toMatchObject({ ok: false, retry: false });
  });

  it('that warn do not refuse', async () => {
    const proof = await prove(reports(found(reachable), found(fits, { status: 'warning' }), found(valid)));
    expect(proof).toMatchObject({ ok: true, retry: false });
  });
});

/** Turns the clock in small steps until the work is done. @returns how long that took on it */
async function turn(clock: FakeClock, work: Promise<unknown>): Promise<number> {
  let done = false;
  const settled = work.then(
    () => {
      done = true;
    },
    () => {
      done = true;
    },
  );
  for (let steps = 0; !done && steps < 1000; steps += 1) {
    for (let turns = 0; turns < 5 && !done; turns += 1) await settle();
    if (!done) clock.advance(Math.min(clock.msToNext ?? 50, 50));
  }
  await settled;
  return clock.monotonicMs();
}

describe('a backend that hangs', () => {
  const forever = () => new Promise<never>(() => {});
  const untilAborted = (signal: AbortSignal) =>
    new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }));
  const cases: readonly [call: CallName, failing: string, message: string][] = [
    ['inspect', 'bent.address-reachable', 'no answer within 5000 ms'],
    ['abilities', 'certificate.issued', 'no answer within 9000 ms'],
    ['sign', 'certificate.issued', 'no answer within 9000 ms'],
    ['trustBundle', 'certificate.root-trusted', 'no answer within 9000 ms'],
  ];
  for (const [how, wait] of [
    ['and honours its signal', untilAborted],
    ['and does not', forever],
  ] as const) {
    it.each(cases)(`in %s ${how}: within 10 s, ${'%s'} has failed and may pass`, async (call, failing, message) => {
      const clock = createFakeClock(TEST_START);
      const proving = prove({ clock, onCall: (at, { signal }) => (at === call ? wait(signal) : undefined) });
      expect(await turn(clock, proving)).toBeLessThanOrEqual(10_000);
      const proof = await proving;
      expect(of(proof, failing)).toMatchObject({ status: 'failed', retry: true });
      expect(`${of(proof, failing)?.message}: ${of(proof, failing)?.cause}`).toContain(message);
      expect(proof).toMatchObject({ ok: false, retry: true });
      expect(proof.checks.filter(({ status }) => status === 'failed')).toHaveLength(1);
      expect(proof.durationMs).toBeLessThanOrEqual(10_000);
      expect(clock.pending).toBe(0);
    });
  }

  it('in an inspection that had told something: the first that is owed has failed, the time since is its own', async () => {
    const clock = createFakeClock(TEST_START);
    const proving = prove({
      clock,
      inspect: async ({ report }) => {
        await clock.sleep(2000);
        report(found('bent.address-reachable'));
        await forever();
      },
    });
    await turn(clock, proving);
    const proof = await proving;
    expect(own(proof)).toEqual({
      'bent.address-reachable': 'passed',
      'bent.role-fits': 'failed',
      'bent.ca-valid': 'skipped',
    });
    expect(of(proof, 'bent.role-fits')?.durationMs).toBe(3000);
    // That check does not block: what is left of the time goes to the certificate.
    expect(certificateStatuses(proof)).toEqual(new Set(['passed']));
  });

  it('a bit in every call: still within 10 s', async () => {
    const clock = createFakeClock(TEST_START);
    const proving = prove({ clock, onCall: (_, { signal }) => clock.sleep(4_900, signal) });
    expect(await turn(clock, proving)).toBeLessThanOrEqual(10_000);
    expect((await proving).retry).toBe(true);
    expect(clock.pending).toBe(0);
  });

  it('longer than its own limit, where that is the shorter one: that is what is told', async () => {
    const clock = createFakeClock(TEST_START);
    const limits = { issueTimeoutMs: 2_000, rootTimeoutMs: 1_000 };
    const proving = prove({ clock, onCall: (at) => (at === 'sign' ? forever() : undefined), options: { limits } });
    expect(await turn(clock, proving)).toBeLessThan(3_000);
    expect(of(await proving, 'certificate.issued')).toMatchObject({
      cause: expect.stringContaining('no answer within 2000 ms'),
      fix: expect.stringContaining('dpCert.requestTimeout'),
    });
  });

  it('and knows why when its time is over: its last words are told', async () => {
    const clock = createFakeClock(TEST_START);
    const proving = prove({
      clock,
      async onCall(at, { signal }) {
        if (at === 'sign')
          await untilAborted(signal).catch(() => {
            throw new IssuancePendingError('waits for an approval', { fix: 'approve it' });
          });
      },
    });
    expect(await turn(clock, proving)).toBeLessThanOrEqual(10_000);
    expect(of(await proving, 'certificate.issued')).toMatchObject({
      message: 'the backend has not issued the test certificate yet',
      cause: expect.stringContaining('waits for an approval'),
      fix: 'approve it',
      retry: true,
    });
  });

  it.each<CallName>(['inspect', 'abilities', 'sign', 'trustBundle'])(
    'in %s, and the caller goes: the proof ends with the reason, nothing is left',
    async (call) => {
      const clock = createFakeClock(TEST_START);
      const controller = new AbortController();
      const { backend } = createBentBackend({ clock, onCall: (at) => (at === call ? forever() : undefined) });
      const proving = proveBackend(backend, proveDeps(clock), { signal: controller.signal });
      const ended = expect(proving).rejects.toThrow('gone');
      await settle();
      await settle();
      controller.abort(new Error('gone'));
      await ended;
      expect(clock.pending).toBe(0);
    },
  );

  it('is not even asked for a caller who has gone', async () => {
    const asked: string[] = [];
    const { backend } = createBentBackend({ onCall: (call) => void asked.push(call) });
    await expect(proveBackend(backend, proveDeps(), { signal: AbortSignal.abort(new Error('gone')) })).rejects.toThrow(
      'gone',
    );
    expect(asked).toEqual([]);
  });
});

describe('the proof of a real adapter', () => {
  const clock = createFakeClock(TEST_START);
  const context = { mesh: 'default', backend: 'ca-1' };

  async function create<C>(module: IssuerModule<C>, conf: unknown, deps: TestDeps, ensure = false): Promise<Backend> {
    const issuer = module.create(context, module.parseConf(conf, context), deps);
    if (ensure && isProvisioner(issuer)) await issuer.ensure(live());
    return backendOf(module, issuer, clock);
  }

  /** A CA below a root, in two secrets. */
  async function createProvided(toDay: number): Promise<Backend> {
    const root = await makeCa({ name: 'root' });
    const ca = await makeCa({ name: 'issuing', issuer: root, pathLength: 0, toDay });
    const secrets = { cert: `${ca.certPem}${root.certPem}`, key: ca.keyPem };
    const conf = { cert: { secret: 'cert' }, key: { secret: 'key' } };
    return create(provided, conf, createTestDeps({ clock, secrets }));
  }

  it.each([
    ['builtin', () => create(builtin, { caCert: { keyType: 'EC-P256' } }, createTestDeps({ clock }), true)],
    ['provided, an intermediate and its root', () => createProvided(3650)],
  ])('%s: at least 12 checks, and all of them passed', async (_, make) => {
    const backend = await make();
    const proof = await proveBackend(backend, proveDeps(clock), live());
    expect(troubleOf(proof)).toEqual([]);
    expect(proof.checks.length).toBeGreaterThan(12);
    expect(proof.rootExpiresAt?.getTime()).toBeGreaterThan(clock.now().getTime());
    await backend.close();
  });

  it('builtin, whose CA was not made: the certificate is not tried', async () => {
    const backend = await create(builtin, {}, createTestDeps({ clock }));
    const proof = await proveBackend(backend, proveDeps(clock), live());
    expect(proof.ok).toBe(false);
    expect(certificateStatuses(proof)).toEqual(new Set(['skipped']));
  });

  it('provided, whose CA ends in a week: a warning, no failure', async () => {
    const backend = await createProvided(7);
    const proof = await proveBackend(backend, proveDeps(clock), live());
    expect(proof.ok).toBe(true);
    expect(of(proof, 'certificate.root-lifetime')).toMatchObject({
      status: 'warning',
      message: expect.stringContaining('in 7 d: '),
    });
    expect(proof.caExpiresAt?.getTime()).toBeLessThan(proof.rootExpiresAt?.getTime() ?? 0);
  });
});

describe('what is told of a proof', () => {
  const bad = createBentBackend({
    inspect: async ({ report }) => {
      report(found('bent.address-reachable'));
      report(
        found('bent.role-fits', {
          status: 'failed',
          message: 'the role is wrong',
          cause: 'no such role',
          fix: 'name one',
        }),
      );
      report(found('bent.ca-valid', { status: 'warning', message: 'the CA ends soon' }));
    },
    subject: () => {
      throw new RequestInvalidError('the name is too long', { fix: 'shorten it' });
    },
  }).backend;

  it('to refuse a Mesh: what failed, at the key that is to blame, message and cause in one', async () => {
    expect(failedViolations(await proveBackend(bad, proveDeps(), live()), 'mtls.backends[1].conf')).toEqual([
      { field: 'mtls.backends[1].conf.role', message: 'the role is wrong: no such role' },
      {
        field: 'mtls.backends[1].conf',
        message: 'the backend does not take the request for a data plane of this mesh: the name is too long',
      },
    ]);
  });

  it('as JSON: the shape of API.md, with times in UTC and whole milliseconds', async () => {
    const proof = await proveBackend(bad, proveDeps(), live());
    const json = JSON.parse(JSON.stringify(proofJson(proof)));
    expect(json).toMatchObject({ mesh: 'default', backend: 'bent-1', type: 'bent', ok: false, retry: false });
    expect(json.provenAt).toBe(proof.provenAt.toISOString());
    expect(Number.isInteger(json.durationMs)).toBe(true);
    expect(json.checks[1]).toEqual({
      name: 'bent.role-fits',
      status: 'failed',
      durationMs: 1,
      message: 'the role is wrong',
      cause: 'no such role',
      fix: 'name one',
      field: 'role',
    });
    expect(json.checks[0]).not.toHaveProperty('field');
    for (const { durationMs } of json.checks) expect(Number.isInteger(durationMs)).toBe(true);
  });

  it('is documented: every check has a row on the page', () => {
    const page = readFileSync('docs/checks.md', 'utf8');
    for (const name of CERTIFICATE) expect(page).toContain(`| \`${name}\` |`);
  });
});
