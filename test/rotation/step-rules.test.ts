import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RotationNotReadyError } from '../../src/issuer/errors.ts';
import { type Mesh, parseMesh } from '../../src/mesh/mesh.ts';
import type { Fleet, FleetMember } from '../../src/rotation/fleet.ts';
import { createStepRules } from '../../src/rotation/step-rules.ts';
import type { StoredCertificate } from '../../src/store/store.ts';
import { buildRecord } from '../conformance/store.ts';
import { type BundleSpec, buildFleet, leafDer, type MemberSpec, rootDer, rootHash } from './build-fleet.ts';

/** `enabled` and the names of the list; a name with `*` has another conf. */
interface MeshSpec {
  readonly enabled: string;
  readonly backends: readonly string[];
  readonly skipValidation?: boolean;
}

function buildMesh({ enabled, backends, skipValidation = false }: MeshSpec): Mesh {
  const specs = backends.map((name) => ({
    name: name.replace('*', ''),
    type: 'fake',
    conf: name.endsWith('*') ? { changed: true } : {},
  }));
  return parseMesh({ mtls: { enabledBackend: enabled, backends: specs, skipValidation } }, { name: 'default' });
}

interface StepSpec {
  readonly before: MeshSpec;
  readonly after: MeshSpec;
  readonly force?: boolean;
  /** Backend -> names of the roots that it has just proven. */
  readonly proven?: Readonly<Record<string, readonly string[]>>;
  readonly bundles: readonly BundleSpec[];
  readonly members: Readonly<Record<string, MemberSpec>>;
  /** Data plane -> services in its certificate. Default: a service of its own name. */
  readonly services?: Readonly<Record<string, readonly string[]>>;
}

interface Outcome {
  readonly error: RotationNotReadyError | undefined;
  /** How often the fleet, and certificates, were read. */
  readonly reads: { fleets: number; certificates: number };
}

async function check(spec: StepSpec, fleet = buildFleet(spec)): Promise<Outcome> {
  const reads = { fleets: 0, certificates: 0 };
  const getCertificate = async (_: string, dataplane: string): Promise<StoredCertificate> => {
    reads.certificates += 1;
    const services = spec.services?.[dataplane] ?? [dataplane];
    const leaf = leafDer(...services.map((service) => `spiffe://default/${service}`), `kuma://team/${dataplane}`);
    return { ...buildRecord({ dataplane, leaf }), regenerations: 1 };
  };
  const read = async (): Promise<Fleet> => {
    reads.fleets += 1;
    return fleet;
  };
  const rules = createStepRules({ fleets: { read }, store: { getCertificate } });
  const provenRoots = new Map(Object.entries(spec.proven ?? {}).map(([name, roots]) => [name, roots.map(rootDer)]));
  const step = {
    before: buildMesh(spec.before),
    after: buildMesh(spec.after),
    force: spec.force ?? false,
    provenRoots,
  };
  try {
    await rules.check(step, { signal: new AbortController().signal });
    return { error: undefined, reads };
  } catch (error) {
    if (!(error instanceof RotationNotReadyError)) throw error;
    return { error, reads };
  }
}

const OLD: BundleSpec = { 'ca-1': ['a'] };
const BOTH: BundleSpec = { 'ca-1': ['a'], 'vault-1': ['b'] };
const [A, B] = ['ca-1', 'vault-1'];
const ON_A = { enabled: A, backends: [A, B] };
const ON_B = { enabled: B, backends: [A, B] };
/** The documented steps. */
const ADD = { before: { enabled: A, backends: [A] }, after: ON_A };
const SWITCH = { before: ON_A, after: ON_B, bundles: [OLD, BOTH] };
const REMOVE = { before: ON_B, after: { enabled: B, backends: [B] }, bundles: [OLD, BOTH] };

/** Two services, so that the exception for a single one does not hold. */
const READY: MemberSpec = { holds: 2, uses: A };
const LATE: MemberSpec = { holds: 1, uses: A };
const DONE: MemberSpec = { holds: 2, uses: B };

/** A certificate of the CA before it had a second root. */
const OF_ROOT_A = { rootHashes: [rootHash('a')] };

describe('a step is allowed', () => {
  const cases: Readonly<Record<string, StepSpec>> = {
    'adding a backend, whoever holds what': { ...ADD, bundles: [OLD], members: { a: LATE, b: {} } },
    'switching, when everybody online trusts the new CA': { ...SWITCH, members: { a: READY, b: READY } },
    'switching, when only one that is offline does not': {
      ...SWITCH,
      members: { a: READY, b: { ...LATE, state: 'offline' } },
    },
    'switching back': { ...SWITCH, before: ON_B, after: ON_A, members: { a: DONE, b: READY } },
    'switching, when nobody is online and no root is known': {
      ...SWITCH,
      bundles: [OLD],
      members: { a: { ...LATE, state: 'offline' } },
    },
    'adding and switching at once, when nobody is online': {
      before: { enabled: A, backends: [A] },
      after: ON_B,
      proven: { [B]: ['b'] },
      bundles: [OLD],
      members: { a: { state: 'offline', holds: 1 } },
    },
    'switching to another name for the same CA': {
      before: ON_A,
      after: ON_B,
      proven: { [B]: ['a'] },
      bundles: [OLD, { [A]: ['a'], [B]: ['a'] }],
      members: { a: LATE, b: LATE },
    },
    'switching to a backend that has just proven a root which everybody has': {
      ...SWITCH,
      proven: { [B]: ['b'] },
      members: { a: READY, b: READY },
    },
    'removing, when nobody holds a certificate of it': { ...REMOVE, members: { a: DONE, b: { holds: 1 } } },
    'removing, with force, when only those offline hold one': {
      ...REMOVE,
      force: true,
      members: {
        a: DONE,
        b: { state: 'offline', uses: A },
        c: { state: 'offline', uses: B, certificate: { inUse: false } },
      },
    },
    'removing a backend that never issued, while another does': {
      before: { enabled: A, backends: [A, B] },
      after: { enabled: A, backends: [A] },
      bundles: [BOTH],
      members: { a: READY, b: READY },
    },
    'removing one of two names for the same CA': {
      before: ON_B,
      after: { enabled: B, backends: [B] },
      bundles: [{ [A]: ['a'], [B]: ['a'] }],
      members: { a: { holds: 1, uses: A }, b: { holds: 1, uses: B } },
    },
    'removing, when the certificates of it end in a root that has expired': {
      ...REMOVE,
      bundles: [{ [A]: ['expired'], [B]: ['b'] }],
      members: { a: { holds: 1, uses: A }, b: { holds: 1, uses: B } },
    },
    'another conf for the backend that issues, with the same CA': {
      before: { enabled: A, backends: [A] },
      after: { enabled: A, backends: [`${A}*`] },
      proven: { [A]: ['a'] },
      bundles: [OLD],
      members: { a: LATE, b: LATE },
    },
    'another conf for the backend that issues, with the same CA of several': {
      before: { enabled: A, backends: [A] },
      after: { enabled: A, backends: [`${A}*`] },
      proven: { [A]: ['a'] },
      bundles: [OLD, { [A]: ['a', 'c'] }],
      members: { a: { ...LATE, certificate: OF_ROOT_A }, b: {} },
    },
    'another CA behind the backend that issues, when everybody online trusts it already': {
      before: { enabled: A, backends: [A] },
      after: { enabled: A, backends: [`${A}*`] },
      proven: { [A]: ['b'] },
      bundles: [{ [A]: ['a', 'b'] }],
      members: { a: LATE, b: LATE },
    },
    'any, when mTLS was off': { ...SWITCH, before: { enabled: '', backends: [A] }, members: { a: LATE, b: LATE } },
    'any, when mTLS goes off': { ...REMOVE, after: { enabled: '', backends: [] }, members: { a: READY, b: READY } },
    'any, with skipValidation': {
      ...SWITCH,
      after: { enabled: B, backends: [B], skipValidation: true },
      members: { a: LATE, b: LATE },
    },
    'switching, when the CA that issues has expired: recovery': {
      ...SWITCH,
      bundles: [{ [A]: ['expired'] }],
      members: { a: LATE, b: { ...LATE, uses: A } },
    },
    'switching and removing at once, when the CA that issues has expired: recovery': {
      before: { enabled: A, backends: [A] },
      after: { enabled: B, backends: [B] },
      proven: { [B]: ['b'] },
      bundles: [{ [A]: ['expired'] }],
      members: { a: LATE, b: { ...LATE, certificate: { inUse: false } } },
    },
    'another CA behind the backend that issues, when the one before has expired: recovery': {
      before: { enabled: A, backends: [A] },
      after: { enabled: A, backends: [`${A}*`] },
      proven: { [A]: ['b'] },
      bundles: [{ [A]: ['expired'] }],
      members: { a: LATE, b: LATE },
    },
    'switching, when there is a single service and nothing is wrong with it': {
      ...SWITCH,
      members: { a: LATE, b: { uses: A, certificate: { inUse: false } }, c: { state: 'offline', uses: A } },
      services: { a: ['web'], b: ['web'], c: ['web'] },
    },
    'adding, switching and removing at once, when there is a single service and nothing is wrong with it': {
      before: { enabled: A, backends: [A] },
      after: { enabled: B, backends: [B] },
      proven: { [B]: ['b'] },
      bundles: [OLD],
      members: { a: LATE, b: LATE },
      services: { a: ['web'], b: ['web'] },
    },
  };
  it.each(Object.entries(cases))('%s', async (_, spec) => {
    expect((await check(spec)).error).toBeUndefined();
  });
});

describe('a step is refused', () => {
  interface Refused extends StepSpec {
    /** Field -> message. */
    readonly fields: Readonly<Record<string, string>>;
    /** Data plane -> what it is waited for. */
    readonly blockers: Readonly<Record<string, string>>;
    readonly fix: string;
  }
  const HAS_1 = 'trust bundle 2 (has 1)';
  const OF_A = 'a certificate of backend "vault-1" (uses one of "ca-1")';
  const ROTATE =
    'mesh-ca rotate default --to vault-1 waits for them and then switches; or mesh-ca rotate default shows who is not ready: apply again when nobody is left';
  const SHOWS = 'mesh-ca rotate default shows who still needs "ca-1": apply again when nobody is left';
  const FORCE = `${SHOWS}; mesh-ca apply -f FILE --force does not wait for those that are offline`;
  const OTHER_NAME =
    'leave "ca-1" as it is and apply the Mesh with a further backend that has the new conf; then mesh-ca rotate default --to that backend';
  const one = (does = 'does') => ({
    'mtls.enabledBackend': `cannot be "vault-1" yet: 1 of 2 online data planes ${does} not trust it`,
  });
  const cases: Readonly<Record<string, Refused>> = {
    'switching, while one that is online holds an older bundle': {
      ...SWITCH,
      members: { a: READY, b: LATE },
      fields: one(),
      blockers: { b: HAS_1 },
      fix: ROTATE,
    },
    'switching, while one that is online has said nothing': {
      ...SWITCH,
      members: { a: READY, b: {} },
      fields: one(),
      blockers: { b: 'trust bundle 2 (has never said which one it holds)' },
      fix: ROTATE,
    },
    'switching, while one that was not heard of since the start holds an older bundle, force or not': {
      ...SWITCH,
      force: true,
      members: { a: READY, b: { ...LATE, state: 'unheard' } },
      fields: one(),
      blockers: { b: HAS_1 },
      fix: ROTATE,
    },
    'switching to a backend whose roots nobody knows': {
      ...SWITCH,
      bundles: [OLD],
      members: { a: LATE, b: LATE },
      fields: {
        'mtls.enabledBackend':
          'cannot be "vault-1" yet: its roots are not known yet, so none of 2 online data planes can trust it',
      },
      blockers: { '': 'the roots of backend "vault-1" (it has not told them yet)' },
      fix: ROTATE,
    },
    'switching to a backend that has just proven another root than it has in the bundle': {
      ...SWITCH,
      after: { enabled: B, backends: [A, `${B}*`] },
      proven: { [B]: ['c'] },
      members: { a: READY, b: READY },
      fields: { 'mtls.enabledBackend': 'cannot be "vault-1" yet: 2 of 2 online data planes do not trust it' },
      blockers: {
        a: 'a trust bundle with the roots of backend "vault-1" (has 2)',
        b: 'a trust bundle with the roots of backend "vault-1" (has 2)',
      },
      fix: ROTATE,
    },
    'adding and switching at once, before it has proven itself': {
      before: { enabled: A, backends: [A] },
      after: ON_B,
      bundles: [OLD],
      members: { a: LATE, b: LATE },
      fields: {
        'mtls.enabledBackend':
          'cannot be "vault-1" yet: it only joins the mesh now, so none of 2 online data planes can trust it',
      },
      blockers: { '': 'backend "vault-1" to be in the mesh while "ca-1" is still enabled' },
      fix: 'apply the Mesh with "vault-1" in mtls.backends and enabledBackend still "ca-1" first; then mesh-ca rotate default --to vault-1',
    },
    'removing, while one that is online uses a certificate of it': {
      ...REMOVE,
      members: { a: DONE, b: READY },
      fields: { 'mtls.backends[0]': 'backend "ca-1" cannot be removed yet: 1 data plane may still need it' },
      blockers: { b: OF_A },
      fix: SHOWS,
    },
    'removing, while those offline hold certificates of it, or may': {
      ...REMOVE,
      members: {
        a: DONE,
        b: { state: 'offline', uses: A },
        c: { state: 'offline', uses: B, certificate: { inUse: false } },
      },
      fields: {
        'mtls.backends[0]': 'backend "ca-1" cannot be removed yet: 2 data planes may still need it, 2 of them offline',
      },
      blockers: {
        b: 'its certificate of backend "ca-1" to expire at 2026-06-01T13:00:00.000Z (offline)',
        c: 'its new certificate to be in use (sent, not acknowledged; offline)',
      },
      fix: FORCE,
    },
    'removing with force, while one that is online may still use a certificate of it': {
      ...REMOVE,
      force: true,
      members: {
        a: { ...DONE, certificate: { inUse: false } },
        b: { state: 'offline', uses: A },
        c: { ...DONE, state: 'unheard' },
      },
      fields: { 'mtls.backends[0]': 'backend "ca-1" cannot be removed yet: 2 data planes may still need it' },
      blockers: {
        a: 'its new certificate to be in use (sent, not acknowledged)',
        c: 'word from it (not heard of since mesh-ca started)',
      },
      fix: SHOWS,
    },
    'removing the last backend of the list: the field is its place in the stored Mesh': {
      ...REMOVE,
      before: { enabled: B, backends: [B, A] },
      members: { a: DONE, b: READY },
      fields: { 'mtls.backends[1]': 'backend "ca-1" cannot be removed yet: 1 data plane may still need it' },
      blockers: { b: OF_A },
      fix: SHOWS,
    },
    'removing one of two names for the same CA, when the other name gets another conf': {
      before: ON_B,
      after: { enabled: B, backends: [`${B}*`] },
      bundles: [{ [A]: ['a'], [B]: ['a'] }],
      members: { a: { holds: 1, uses: A }, b: { holds: 1, uses: B } },
      fields: { 'mtls.backends[0]': 'backend "ca-1" cannot be removed yet: 1 data plane may still need it' },
      blockers: { a: OF_A },
      fix: SHOWS,
    },
    'switching and removing at once, with one line for each data plane': {
      before: ON_A,
      after: { enabled: B, backends: [B] },
      bundles: [OLD, BOTH],
      members: { a: LATE, b: READY, c: { state: 'offline', uses: A } },
      fields: {
        ...one(),
        'mtls.backends[0]': 'backend "ca-1" cannot be removed yet: 3 data planes may still need it, 1 of them offline',
      },
      blockers: {
        a: HAS_1,
        b: OF_A,
        c: 'its certificate of backend "ca-1" to expire at 2026-06-01T13:00:00.000Z (offline)',
      },
      fix: ROTATE,
    },
    'another CA behind the backend that issues, while somebody online does not trust it': {
      before: { enabled: A, backends: [B, A] },
      after: { enabled: A, backends: [B, `${A}*`] },
      proven: { [A]: ['c'] },
      bundles: [BOTH, { [A]: ['a', 'c'], [B]: ['b'] }],
      members: { a: { ...LATE, certificate: OF_ROOT_A }, b: { ...READY, certificate: OF_ROOT_A } },
      fields: {
        'mtls.backends[1].conf':
          'backend "ca-1" cannot get another CA yet: 1 of 2 online data planes does not trust it',
      },
      blockers: { a: HAS_1 },
      fix: OTHER_NAME,
    },
    'switching, when the CA that issues has expired but a certificate of another one works': {
      ...SWITCH,
      bundles: [{ [A]: ['expired'], 'ca-3': ['c'] }],
      members: { a: LATE, b: { holds: 1, uses: 'ca-3' } },
      fields: {
        'mtls.enabledBackend':
          'cannot be "vault-1" yet: its roots are not known yet, so none of 2 online data planes can trust it',
      },
      blockers: { '': 'the roots of backend "vault-1" (it has not told them yet)' },
      fix: ROTATE,
    },
    'switching, when only one of the roots of the CA that issues has expired': {
      ...SWITCH,
      bundles: [{ [A]: ['a', 'expired'] }, { [A]: ['a', 'expired'], [B]: ['b'] }],
      members: { a: READY, b: LATE },
      fields: one(),
      blockers: { b: HAS_1 },
      fix: ROTATE,
    },
  };
  it.each(Object.entries(cases))('%s', async (_, { fields, blockers, fix, ...spec }) => {
    const { error } = await check(spec);
    expect(Object.fromEntries(error?.violations.map(({ field, message }) => [field, message]) ?? [])).toEqual(fields);
    const told = error?.blockers.map(({ dataplane, waitingFor }) => [dataplane, waitingFor]) ?? [];
    expect(told).toEqual(Object.entries(blockers));
    expect(error).toMatchObject({ code: 'ERR_ROTATION_NOT_READY', retry: true, fix, blockersTotal: told.length });
  });

  const ONE_SERVICE = { a: ['web'], b: ['web'] };
  const troubles: Readonly<Record<string, Partial<StepSpec>>> = {
    'a second service': { members: { a: LATE, b: LATE }, services: { a: ['web'], b: ['api'] } },
    'a data plane of two services': { members: { a: LATE, b: LATE }, services: { a: ['web'], b: ['web', 'api'] } },
    'a second service that is offline': {
      members: { a: LATE, b: { ...LATE, state: 'offline' } },
      services: { a: ['web'], b: ['api'] },
    },
    'one without a certificate': { members: { a: LATE, b: { holds: 1 } } },
    'one not heard of since the start': { members: { a: LATE, b: { ...LATE, state: 'unheard' } } },
    'one with a certificate of a backend that is not in the mesh': {
      members: { a: LATE, b: { holds: 1, uses: 'ca-0' } },
    },
    'one that refused what it was sent': {
      members: { a: LATE, b: { ...LATE, refusal: { what: 'certificate', version: '01', message: 'no' } } },
    },
    'one that does not even trust the CA that issues': {
      bundles: [{ 'ca-0': ['c'] }, BOTH],
      members: { a: LATE, b: LATE },
    },
  };
  it.each(Object.entries(troubles))('in a mesh of a single service with %s', async (_, trouble) => {
    const { error } = await check({ ...SWITCH, services: ONE_SERVICE, members: {}, ...trouble });
    expect(error?.violations).toMatchObject([{ field: 'mtls.enabledBackend' }]);
  });

  it('with at most 10 names, in order, and the number of all', async () => {
    const members = Object.fromEntries(Array.from({ length: 120 }, (_, i) => [`web-${i}`, LATE]));
    const { error } = await check({ ...SWITCH, members });
    const names = Object.keys(members).sort().slice(0, 10);
    expect(error?.blockers.map(({ dataplane }) => dataplane)).toEqual(names);
    expect(error?.blockersTotal).toBe(120);
    expect(error?.message).toBe('too soon for mesh "default": 120 data planes are not ready');
  });

  it('with words for one data plane, and for a backend', async () => {
    const single = await check({ ...SWITCH, members: { a: READY, b: LATE } });
    expect(single.error?.message).toBe('too soon for mesh "default": 1 data plane is not ready');
    const backend = await check({ ...SWITCH, bundles: [OLD], members: { a: LATE, b: {} } });
    expect(backend.error?.message).toBe('too soon for mesh "default": a backend is not ready');
  });
});

describe('what is read', () => {
  it.each<[string, Partial<StepSpec>]>([
    ['nothing about backends changes', { before: ON_A, after: ON_A }],
    ['a backend is added', ADD],
    [
      'a backend that does not issue gets another conf',
      { before: ON_A, after: { ...ON_A, backends: [A, `${B}*`] }, proven: { [B]: ['c'] } },
    ],
    ['mTLS goes off', { before: ON_A, after: { enabled: '', backends: [] } }],
    ['validation is skipped', { before: ON_A, after: { ...ON_B, skipValidation: true } }],
  ])('is nothing when %s', async (_, spec) => {
    const outcome = await check({ ...SWITCH, members: { a: LATE, b: LATE }, ...spec });
    expect(outcome).toEqual({ error: undefined, reads: { fleets: 0, certificates: 0 } });
  });

  it('is no certificate while the step is allowed, or a data plane has trouble anyway', async () => {
    expect((await check({ ...SWITCH, members: { a: READY, b: READY } })).reads).toEqual({ fleets: 1, certificates: 0 });
    expect((await check({ ...SWITCH, members: { a: LATE, b: {} } })).reads).toEqual({ fleets: 1, certificates: 0 });
  });

  it('is no further certificate once there are two services, and none of a large mesh', async () => {
    const members = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`web-${i}`, LATE]));
    expect((await check({ ...SWITCH, members: members(50) })).reads.certificates).toBe(2);
    expect((await check({ ...SWITCH, members: members(257) })).reads.certificates).toBe(0);
  });
});

describe('whatever the fleet', () => {
  /** Versions 1 to 4, and an old member may hold any of them. */
  const BUNDLES: readonly BundleSpec[] = [
    { [A]: ['a'] },
    { [A]: ['a'], [B]: ['b'] },
    { [A]: ['a'], [B]: ['b', 'c'] },
    { [A]: ['a', 'd'], [B]: ['b', 'c'] },
  ];
  const member = fc.record(
    {
      state: fc.constantFrom('online' as const, 'offline' as const, 'unheard' as const),
      holds: fc.integer({ min: 1, max: 4 }),
      uses: fc.constantFrom(A, B),
      certificate: fc.record({ inUse: fc.boolean() }),
    },
    { requiredKeys: ['state'] },
  );
  const fleets = fc.record({
    bundles: fc.integer({ min: 1, max: 4 }).map((count) => BUNDLES.slice(0, count)),
    members: fc.dictionary(fc.stringMatching(/^[a-z]{1,2}$/), member, { minKeys: 1, maxKeys: 6 }),
  });
  /** Two services, or the exception for a single one would hold. */
  const withTwoServices = (spec: StepSpec): StepSpec => ({
    ...spec,
    members: { ...spec.members, 'zz-1': { state: 'offline', uses: B }, 'zz-2': { state: 'offline', uses: B } },
  });
  const roots = (names: readonly string[]) => names.map(rootHash);
  const onlineOf = ({ members }: Fleet): readonly FleetMember[] => members.filter(({ online }) => online);

  it('an allowed switch leaves nobody online who does not trust what all others may present from then on', async () => {
    let allowed = 0;
    const proven = fc.constantFrom(undefined, ['b'], ['c'], ['d']);
    await fc.assert(
      fc.asyncProperty(fleets, proven, fc.boolean(), async (given, provenRoots, force) => {
        const spec = withTwoServices({
          ...given,
          ...{ before: ON_A, after: ON_B, force },
          ...(provenRoots && { proven: { [B]: provenRoots } }),
        });
        const fleet = buildFleet(spec);
        if ((await check(spec, fleet)).error !== undefined) return;
        if (onlineOf(fleet).length > 0) allowed += 1;
        const future = [...roots(spec.bundles.at(-1)?.[B] ?? []), ...roots(provenRoots ?? [])];
        for (const one of onlineOf(fleet)) {
          expect(future.length).toBeGreaterThan(0);
          for (const root of future) expect(one.heldRoots.has(root)).toBe(true);
        }
      }),
      { numRuns: 500 },
    );
    expect(allowed).toBeGreaterThan(0);
  });

  it('a refused switch names exactly those who are online and do not trust', async () => {
    await fc.assert(
      fc.asyncProperty(fleets, async (given) => {
        const spec = withTwoServices({ ...given, before: ON_A, after: ON_B });
        const fleet = buildFleet(spec);
        const { error } = await check(spec, fleet);
        const future = roots(spec.bundles.at(-1)?.[B] ?? []);
        const late = onlineOf(fleet).filter(({ heldRoots }) => !future.every((root) => heldRoots.has(root)));
        const names = future.length === 0 && onlineOf(fleet).length > 0 ? [''] : late.map(({ dataplane }) => dataplane);
        expect(error?.blockers.map(({ dataplane }) => dataplane) ?? []).toEqual(names.slice(0, 10));
      }),
    );
  });

  it('an allowed removal leaves nobody online who may present a certificate of the backend, and without force nobody at all', async () => {
    let allowed = 0;
    await fc.assert(
      fc.asyncProperty(fleets, fc.boolean(), async (given, force) => {
        const spec = withTwoServices({ ...given, before: ON_B, after: { enabled: B, backends: [B] }, force });
        const fleet = buildFleet(spec);
        if ((await check(spec, fleet)).error !== undefined) return;
        allowed += 1;
        for (const { online, unheard, certificate } of fleet.members) {
          if (certificate === undefined || (force && !online)) continue;
          expect([certificate.backend, certificate.inUse, unheard]).toEqual([B, true, false]);
        }
      }),
      { numRuns: 500 },
    );
    expect(allowed).toBeGreaterThan(0);
  });
});
