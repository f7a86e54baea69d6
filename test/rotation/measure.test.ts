import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { backendChange, generationChange } from '../../src/rotation/change.ts';
import { measure } from '../../src/rotation/measure.ts';
import { buildFleet, type FleetSpec, type MemberSpec, madeAt, READ_AT, rootHash } from './build-fleet.ts';

const OLD = { 'ca-1': ['a'] };
const BOTH = { 'ca-1': ['a'], 'vault-1': ['b'] };
/** Version 2 has the new root. */
const BUNDLES = [OLD, BOTH];
const LONG_AGO = new Date(0);

function measured(
  members: Readonly<Record<string, MemberSpec>>,
  bundles: FleetSpec['bundles'] = BUNDLES,
  since = LONG_AGO,
) {
  const fleet = buildFleet({ bundles, members });
  return measure(fleet, backendChange(fleet.bundle, 'ca-1', 'vault-1'), { since });
}

function certificateOf(backend: string) {
  const fleet = buildFleet({ bundles: BUNDLES, members: { any: { uses: backend } } });
  return fleet.members[0]?.certificate;
}

describe('what a data plane is waited for', () => {
  const REFUSED = { what: 'trust bundle', message: 'no "start" line' } as const;
  const cases: Readonly<
    Record<string, { member: MemberSpec; list: 'notTrusting' | 'notSwitched' | 'offlineOld'; words: string }>
  > = {
    'the bundle, when it holds an older one': {
      member: { holds: 1 },
      list: 'notTrusting',
      words: 'trust bundle 2 (has 1)',
    },
    'the bundle, when it never said anything': {
      member: {},
      list: 'notTrusting',
      words: 'trust bundle 2 (has never said which one it holds)',
    },
    'the bundle, with its own words when it refused it': {
      member: { holds: 1, refusal: { ...REFUSED, version: '2' } },
      list: 'notTrusting',
      words: 'trust bundle 2 (has 1; refused it: "no \\"start\\" line")',
    },
    'the bundle, with the version that it refused when that is another one': {
      member: { refusal: { ...REFUSED, version: '3' } },
      list: 'notTrusting',
      words: 'trust bundle 2 (has never said which one it holds; refused 3: "no \\"start\\" line")',
    },
    'the bundle, without what it said of a certificate': {
      member: { holds: 1, refusal: { ...REFUSED, what: 'certificate', version: '0a' } },
      list: 'notTrusting',
      words: 'trust bundle 2 (has 1)',
    },
    'a certificate, when it uses an old one': {
      member: { holds: 2, uses: 'ca-1' },
      list: 'notSwitched',
      words: 'a certificate of backend "vault-1" (uses one of "ca-1")',
    },
    'a certificate, when it was not heard of and has an old one': {
      member: { holds: 2, uses: 'ca-1', state: 'unheard' },
      list: 'notSwitched',
      words: 'a certificate of backend "vault-1" (uses one of "ca-1")',
    },
    'an ACK, when it may present the one before': {
      member: { holds: 2, uses: 'vault-1', certificate: { inUse: false } },
      list: 'notSwitched',
      words: 'its new certificate to be in use (sent, not acknowledged)',
    },
    'an ACK, with its own words when it refused the certificate': {
      member: {
        holds: 2,
        uses: 'vault-1',
        certificate: { inUse: false },
        refusal: { what: 'certificate', version: '0a', message: 'key does not match' },
      },
      list: 'notSwitched',
      words: 'its new certificate to be in use (sent, not acknowledged; refused it: "key does not match")',
    },
    'an ACK, when it may present the one before, and that is an old one': {
      member: { holds: 2, uses: 'vault-1', certificate: { inUse: false, before: certificateOf('ca-1') } },
      list: 'notSwitched',
      words: 'its new certificate to be in use (sent, not acknowledged)',
    },
    'word from it, when nobody knows whether it got the new certificate': {
      member: { holds: 2, uses: 'vault-1', state: 'unheard' },
      list: 'notSwitched',
      words: 'word from it (not heard of since mesh-ca started)',
    },
    'the end of its old certificate, when it is offline': {
      member: { uses: 'ca-1', state: 'offline' },
      list: 'offlineOld',
      words: 'its certificate of backend "ca-1" to expire at 2026-06-01T13:00:00.000Z (offline)',
    },
    'an ACK, when it went offline before it gave one': {
      member: { uses: 'vault-1', state: 'offline', certificate: { inUse: false } },
      list: 'offlineOld',
      words: 'its new certificate to be in use (sent, not acknowledged; offline)',
    },
  };
  it.each(Object.entries(cases))('is %s', (_, { member, list, words }) => {
    const readiness = measured({ 'web-1': member });
    expect(readiness[list]).toMatchObject([{ dataplane: 'web-1', zone: '', waitingFor: words }]);
    const others = (['notTrusting', 'notSwitched', 'offlineOld'] as const).filter((name) => name !== list);
    for (const other of others) expect(readiness[other]).toEqual([]);
  });

  it('is nothing, when it trusts the new CA and uses its certificate', () => {
    expect(measured({ 'web-1': { holds: 2, uses: 'vault-1' } })).toEqual({
      total: 1,
      online: 1,
      trustingNew: 1,
      usingNew: 1,
      usingOld: 0,
      notTrusting: [],
      notSwitched: [],
      offlineOld: [],
    });
  });

  it('is nothing, when it may present the one before, but that is a new one, too: it only renews', () => {
    const certificate = { inUse: false, before: certificateOf('vault-1') };
    expect(measured({ 'web-1': { holds: 2, uses: 'vault-1', certificate } })).toMatchObject({
      ...{ usingNew: 1, usingOld: 0 },
      notSwitched: [],
    });
  });

  it('is the new root, when a CA goes on under its name: from one generation to the next', () => {
    const fleet = buildFleet({
      bundles: [{ 'ca-1': ['a'] }, { 'ca-1': ['a', 'b'] }],
      members: {
        old: { holds: 1, uses: 'ca-1', certificate: { rootHashes: [rootHash('a')] } },
        'old-offline': { state: 'offline', uses: 'ca-1', certificate: { rootHashes: [rootHash('a')] } },
        // Its chain can be built to either root.
        between: { holds: 2, uses: 'ca-1', certificate: { rootHashes: [rootHash('a'), rootHash('b')] } },
        new: { holds: 2, uses: 'ca-1', certificate: { rootHashes: [rootHash('b')] } },
      },
    });
    const change = generationChange('ca-1', new Set([rootHash('a')]), new Set([rootHash('b')]));
    expect(measure(fleet, change, {})).toMatchObject({
      ...{ total: 4, online: 3, trustingNew: 2, usingNew: 2, usingOld: 1 },
      notTrusting: [{ dataplane: 'old', waitingFor: 'trust bundle 2 (has 1)' }],
      notSwitched: [
        {
          dataplane: 'old',
          waitingFor: 'a certificate of the new root of backend "ca-1" (uses one of an old root)',
        },
      ],
      offlineOld: [
        {
          dataplane: 'old-offline',
          waitingFor:
            'its certificate of an old root of backend "ca-1" to expire at 2026-06-01T13:00:00.000Z (offline)',
        },
      ],
    });
  });
});

describe('the bundle that is waited for', () => {
  const words = (bundles: FleetSpec['bundles'], holds: number) =>
    measured({ 'web-1': { holds } }, bundles).notTrusting.map(({ waitingFor }) => waitingFor);

  it('is the first that has had all new roots ever since, not the present one', () => {
    const more = { ...BOTH, 'ca-3': ['c'] };
    expect(words([OLD, BOTH, more], 1)).toEqual(['trust bundle 2 (has 1)']);
    expect(words([OLD, BOTH, more], 2)).toEqual([]);
  });

  it('is not one of an earlier time when the root had come and gone, but whoever still holds that one trusts it', () => {
    expect(words([BOTH, OLD, BOTH], 2)).toEqual(['trust bundle 3 (has 2)']);
    expect(words([BOTH, OLD, BOTH], 1)).toEqual([]);
  });

  it('has all roots of the backend, not one of them', () => {
    expect(words([BOTH, { ...OLD, 'vault-1': ['b', 'c'] }], 1)).toEqual(['trust bundle 2 (has 1)']);
  });

  it('needs no new root when the new backend has the old one', () => {
    expect(words([{ 'ca-1': ['a'] }, { 'ca-1': ['a'], 'vault-1': ['a'] }], 1)).toEqual([]);
  });

  it('has no number while no version has the root', () => {
    const fleet = buildFleet({ bundles: [OLD], members: { 'web-1': { holds: 1 } } });
    const change = { ...backendChange(fleet.bundle, 'ca-1', 'vault-1'), toRoots: new Set([rootHash('b')]) };
    expect(measure(fleet, change, {}).notTrusting).toMatchObject([
      { waitingFor: 'a trust bundle with the roots of backend "vault-1" (has 1)' },
    ]);
  });

  it('is not waited for while nobody knows the roots: that is no single data plane', () => {
    const readiness = measured({ a: { holds: 1 }, b: {} }, [OLD]);
    expect(readiness).toMatchObject({ online: 2, trustingNew: 0 });
    expect(readiness.notTrusting).toMatchObject([
      { dataplane: '', waitingFor: 'the roots of backend "vault-1" (it has not told them yet)' },
    ]);
  });
});

describe('the numbers', () => {
  it('count nobody as using a new root that is not made yet', () => {
    const fleet = buildFleet({ bundles: [OLD], members: { 'web-1': { holds: 1, uses: 'ca-1' } } });
    const change = generationChange('ca-1', new Set(), undefined);
    expect(measure(fleet, change, {})).toMatchObject({ trustingNew: 0, usingNew: 0 });
  });

  it('count who is online or holds a certificate, and of those online who trusts and who uses what', () => {
    expect(
      measured({
        'gone-long-ago': { state: 'offline', holds: 1 },
        'lost-power': { state: 'offline', holds: 1, uses: 'ca-1' },
        'off-and-done': { state: 'offline', uses: 'vault-1' },
        'only-asks-for-the-bundle': { holds: 2 },
        old: { holds: 1, uses: 'ca-1' },
        new: { holds: 2, uses: 'vault-1' },
        doubtful: { holds: 2, uses: 'vault-1', certificate: { inUse: false } },
        'of-a-third': { holds: 2, uses: 'ca-3' },
      }),
    ).toMatchObject({ total: 7, online: 5, trustingNew: 4, usingNew: 1, usingOld: 2 });
  });

  it('name blockers in the order of the data planes', () => {
    const names = measured({ c: {}, a: {}, b: { holds: 1 } }).notTrusting.map(({ dataplane }) => dataplane);
    expect(names).toEqual(['a', 'b', 'c']);
  });

  const member = fc.record(
    {
      state: fc.constantFrom('online' as const, 'offline' as const, 'unheard' as const),
      holds: fc.constantFrom(1, 2),
      uses: fc.constantFrom('ca-1', 'vault-1', 'ca-3'),
      certificate: fc.record({ inUse: fc.boolean() }),
    },
    { requiredKeys: ['state'] },
  );

  it('agree with the names, whatever the fleet', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.stringMatching(/^[a-z]{1,3}$/), member, { maxKeys: 20 }), (members) => {
        const readiness = measured(members);
        const { total, online, trustingNew, usingNew, usingOld, notTrusting, notSwitched, offlineOld } = readiness;
        expect(trustingNew + notTrusting.length).toBe(online);
        expect(usingOld).toBe(notSwitched.length);
        expect(usingNew + usingOld).toBeLessThanOrEqual(online);
        expect(online + offlineOld.length).toBeLessThanOrEqual(total);
        // Whoever is not named can do without the old roots.
        const named = new Set([...notSwitched, ...offlineOld].map(({ dataplane }) => dataplane));
        for (const [name, { uses, certificate }] of Object.entries(members)) {
          if (!named.has(name))
            expect(uses === 'ca-1' || (uses !== undefined && certificate?.inUse === false)).toBe(false);
        }
      }),
    );
  });
});

describe('since when a blocker stands in the way', () => {
  const sinceOf = (member: MemberSpec, since: Date) => {
    const { notTrusting, notSwitched, offlineOld } = measured({ 'web-1': member }, BUNDLES, since);
    return [...notTrusting, ...notSwitched, ...offlineOld].map((blocker) => blocker.since);
  };
  const minutesAgo = (minutes: number) => new Date(READ_AT.getTime() - minutes * 60_000);

  it('is when the bundle was made that it lacks, or when the step began if that was later', () => {
    expect(sinceOf({ holds: 1 }, LONG_AGO)).toEqual([madeAt(2)]);
    expect(sinceOf({ holds: 1 }, minutesAgo(5))).toEqual([minutesAgo(5)]);
  });

  it('is when its certificate was issued, or when the step began if that was later', () => {
    for (const state of ['online', 'offline'] as const) {
      expect(sinceOf({ state, holds: 2, uses: 'ca-1' }, LONG_AGO)).toEqual([minutesAgo(10)]);
      expect(sinceOf({ state, holds: 2, uses: 'ca-1' }, minutesAgo(5))).toEqual([minutesAgo(5)]);
    }
  });

  it('is when its new certificate was sent, in the middle of the step', () => {
    const pending = { holds: 2, uses: 'vault-1', certificate: { inUse: false, issuedAt: minutesAgo(2) } };
    expect(sinceOf(pending, minutesAgo(5))).toEqual([minutesAgo(2)]);
  });

  it('is the moment of the reading when nothing else is known', () => {
    const fleet = buildFleet({ bundles: [OLD], members: { a: {} } });
    const { notTrusting } = measure(fleet, backendChange(fleet.bundle, 'ca-1', 'vault-1'), {});
    expect(notTrusting.map(({ since }) => since)).toEqual([READ_AT]);
  });
});
