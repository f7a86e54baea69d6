import type { BundleVersion, Fleet, FleetMember, HeldCertificate } from '../../src/rotation/fleet.ts';
import type { Refusal } from '../../src/trust/holders.ts';
import { bundleBody, readBundle, type TrustBundle } from '../../src/trust/trust-bundle.ts';
import { TEST_START } from '../conformance/issuer-deps.ts';
import { buildCertificate, buildLeaf, NOON, type TestCertificate } from '../x509/test-certificate.ts';
import { testKey } from '../x509/test-keys.ts';

/** When the fleets below are read. */
export const READ_AT = NOON;
/** What ends before this has expired. */
const EXPIRED_AT = new Date(READ_AT.getTime() - 1000);
const MINUTE_MS = 60_000;

/** What was made already: signing and reading certificates takes longest. */
const made = {
  roots: new Map<string, TestCertificate>(),
  leaves: new Map<string, Buffer>(),
  bundles: new Map<string, TrustBundle>(),
};

function once<V>(known: Map<string, V>, key: string, make: () => V): V {
  const value = known.get(key) ?? make();
  known.set(key, value);
  return value;
}

const BRIEF = { notBefore: TEST_START, notAfter: new Date(TEST_START.getTime() + 5 * MINUTE_MS) };

/** A root of this name, the same each time; one whose name begins with `expired` has expired, one with `brief` lives for five minutes from `TEST_START`. */
export function testRoot(name: string): TestCertificate {
  const life = name.startsWith('expired') ? { notAfter: EXPIRED_AT } : name.startsWith('brief') ? BRIEF : {};
  const options = { key: testKey('EC-P256'), commonName: name, ...life };
  return once(made.roots, name, () => buildCertificate(options));
}

export function rootDer(name: string): Buffer {
  return testRoot(name).certificate.der;
}

/** SHA-256 (hex) of a root of this name. */
export function rootHash(name: string): string {
  const [hash] = buildBundle(1, { any: [name] }).fingerprints;
  if (hash === undefined) throw new Error('a bundle without its root');
  return hash;
}

/** A leaf with these URI SANs, DER. */
export function leafDer(...uriSans: readonly string[]): Buffer {
  const options = { key: testKey('EC-P256'), commonName: '', uriSans };
  return once(made.leaves, uriSans.join(' '), () => buildLeaf(options).certificate.der);
}

/** Backend -> names of its roots. */
export type BundleSpec = Readonly<Record<string, readonly string[]>>;

export function buildBundle(version: number, spec: BundleSpec): TrustBundle {
  return once(made.bundles, JSON.stringify([version, spec]), () => readBundle('default', version, bodyOf(spec)));
}

export function bodyOf(spec: BundleSpec): string {
  return bundleBody(new Map(Object.entries(spec).map(([backend, names]) => [backend, names.map(rootDer)])));
}

export function madeAt(version: number): Date {
  return new Date(READ_AT.getTime() - (60 - version) * MINUTE_MS);
}

export interface MemberSpec {
  /** Default: heard of a moment ago. */
  readonly state?: 'online' | 'offline' | 'unheard';
  /** The version that it holds. */
  readonly holds?: number;
  readonly refusal?: Omit<Refusal, 'at'>;
  /** The backend of its certificate. Absent: it has none. */
  readonly uses?: string;
  readonly certificate?: Partial<HeldCertificate>;
}

export interface FleetSpec {
  /** Version 1, 2, ...; the last is the present one. */
  readonly bundles: readonly BundleSpec[];
  readonly members?: Readonly<Record<string, MemberSpec>>;
}

/** What `Fleets.read` would answer. A certificate ends in the first root of its backend in the newest bundle that has it. */
export function buildFleet({ bundles, members = {} }: FleetSpec): Fleet {
  const read = bundles.map((spec, index) => buildBundle(index + 1, spec));
  const bundle = read.at(-1) ?? buildBundle(0, {});
  const versions = read.map(
    ({ version, fingerprints }): BundleVersion => ({ version, madeAt: madeAt(version), roots: fingerprints }),
  );
  const build = ([dataplane, spec]: [string, MemberSpec]): FleetMember => ({
    dataplane,
    online: spec.state !== 'offline',
    unheard: spec.state === 'unheard',
    heldVersion: spec.holds,
    heldRoots: versions.find(({ version }) => version === spec.holds)?.roots ?? new Set(),
    refusal: spec.refusal && { ...spec.refusal, at: READ_AT },
    certificate: spec.uses === undefined ? undefined : buildHeld(dataplane, spec.uses, read, spec.certificate),
  });
  const sorted = Object.entries(members).sort(([a], [b]) => (a < b ? -1 : 1));
  return { mesh: 'default', readAt: READ_AT, bundle, versions: versions.reverse(), members: sorted.map(build) };
}

function buildHeld(
  dataplane: string,
  backend: string,
  bundles: readonly TrustBundle[],
  changes: Partial<HeldCertificate> = {},
): HeldCertificate {
  const own = bundles.findLast(({ roots }) => roots.some(({ backends }) => backends.includes(backend)));
  const root = own?.roots.find(({ backends }) => backends.includes(backend));
  return {
    dataplane,
    backend,
    rootHashes: [root?.fingerprintSha256 ?? '00'.repeat(32)],
    serialNumber: '0a',
    issuedAt: new Date(READ_AT.getTime() - 10 * MINUTE_MS),
    notAfter: new Date(READ_AT.getTime() + 60 * MINUTE_MS),
    inUse: true,
    ...changes,
  };
}
