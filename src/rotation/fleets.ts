import type { LastSeen } from '../issuance/last-seen.ts';
import { NotFoundError } from '../issuer/errors.ts';
import type { CallOptions } from '../issuer/issuer.ts';
import { RESERVED_NAME } from '../mesh/identity.ts';
import type { Clock } from '../runtime/clock.ts';
import { setNewest } from '../runtime/set-newest.ts';
import type { CountedHolder, Store, TrustStatement } from '../store/store.ts';
import type { Holders } from '../trust/holders.ts';
import { bundleBody, readBundle, type TrustBundle } from '../trust/trust-bundle.ts';
import type { TrustBundles } from '../trust/trust-bundles.ts';
import { BundleVersions } from './bundle-versions.ts';
import { byDataplane } from './by-dataplane.ts';
import type { Fleet, FleetMember, HeldCertificate } from './fleet.ts';

export interface FleetsOptions {
  readonly store: Pick<Store, 'listHolders' | 'listTrustStatements' | 'getTrustBundle' | 'getTrustBundleVersion'>;
  readonly bundles: Pick<TrustBundles, 'get'>;
  readonly holders: Pick<Holders, 'refusal' | 'useOf' | 'usesOther'>;
  readonly lastSeen: Pick<LastSeen, 'ofMesh'>;
  readonly clock: Pick<Clock, 'now'>;
  /** `dataplaneOnlineFor`, in milliseconds. */
  readonly onlineForMs: number;
  /** `rotationSettle`, in milliseconds: a certificate that was answered over HTTP counts as in use after this time. */
  readonly settleMs: number;
}

/** Meshes of which it is remembered who used what at the last reading; the one not read for longest goes first. */
const MOST_MESHES = 100;

/** The certificates that were seen to be used. A map of them is made only for who may still present the one before. */
class Used {
  readonly #holders: readonly CountedHolder[];
  #byDataplane: ReadonlyMap<string, CountedHolder> | undefined;

  constructor(holders: readonly CountedHolder[]) {
    this.#holders = holders;
  }

  by(dataplane: string): CountedHolder | undefined {
    this.#byDataplane ??= new Map(this.#holders.map((holder) => [holder.dataplane, holder]));
    return this.#byDataplane.get(dataplane);
  }
}

/** Nobody holds anything. */
const NO_ROOTS: ReadonlySet<string> = new Set();

/**
 * Reads what is known of all data planes of a mesh. The store is the truth. Kept between two readings are only versions of bundles, which never
 * change, and who was seen to use which certificate: in a large mesh somebody always renews, and what he may still present is the one before.
 */
export class Fleets {
  readonly #options: FleetsOptions;
  readonly #versions: BundleVersions;
  readonly #startedAtMs: number;
  readonly #used = new Map<string, Used>();

  /** The moment of this call is the start of the process. */
  constructor(options: FleetsOptions) {
    this.#options = options;
    this.#versions = new BundleVersions(options.store);
    this.#startedAtMs = options.clock.now().getTime();
  }

  /**
   * Not of one moment, but whatever changes while it is read shows as less ready than it is, never as more.
   * @throws NotFoundError when there is no such mesh
   */
  async read(mesh: string, options: CallOptions): Promise<Fleet> {
    const { store, clock, lastSeen } = this.#options;
    const bundle = await this.#bundle(mesh, options);
    const versions = await this.#versions.upTo(mesh, bundle.version);
    const [certificates, statements] = await Promise.all([store.listHolders(mesh), store.listTrustStatements(mesh)]);
    const rootsOf = await this.#rootsOf(mesh, statements);
    options.signal.throwIfAborted();

    const readAt = clock.now();
    const known = joined(certificates, statements, lastSeen.ofMesh(mesh));
    const context = { mesh, rootsOf, nowMs: readAt.getTime(), wasUsed: this.#used.get(mesh) ?? new Used([]) };
    const members = known.map((one) => this.#member(one, context));
    this.#keepUsed(mesh, certificates, members, context.wasUsed);
    return { mesh, readAt, bundle, versions, members };
  }

  /** As it should be by now; when a backend does not tell its roots, as it was last. */
  async #bundle(mesh: string, options: CallOptions): Promise<TrustBundle> {
    try {
      return await this.#options.bundles.get(mesh, options);
    } catch (error) {
      if (error instanceof NotFoundError || options.signal.aborted) throw error;
      const stored = await this.#options.store.getTrustBundle(mesh);
      return readBundle(mesh, stored?.version ?? 0, stored?.body ?? bundleBody(new Map()));
    }
  }

  /** Version -> its roots, one set for all that hold it. */
  async #rootsOf(
    mesh: string,
    statements: readonly TrustStatement[],
  ): Promise<ReadonlyMap<number, ReadonlySet<string>>> {
    const found = new Map<number, ReadonlySet<string>>();
    for (const { bundleVersion } of statements) {
      if (found.has(bundleVersion)) continue;
      found.set(bundleVersion, (await this.#versions.get(mesh, bundleVersion))?.roots ?? NO_ROOTS);
    }
    return found;
  }

  #member(known: Known, { mesh, rootsOf, nowMs, wasUsed }: ReadContext): FleetMember {
    const { dataplane, holder, statement } = known;
    const { onlineForMs, holders } = this.#options;
    const seenMs = lastSightMs(known);
    const certificate = holder !== undefined && holder.notAfter.getTime() > nowMs ? holder : undefined;
    const unheard = certificate !== undefined && seenMs < this.#startedAtMs && nowMs < this.#startedAtMs + onlineForMs;
    return {
      dataplane,
      online: unheard || seenMs + onlineForMs > nowMs,
      unheard,
      heldVersion: statement?.bundleVersion,
      heldRoots: (statement && rootsOf.get(statement.bundleVersion)) ?? NO_ROOTS,
      refusal: holders.refusal(mesh, dataplane),
      certificate: certificate && this.#held(mesh, certificate, wasUsed, nowMs),
    };
  }

  #held(mesh: string, holder: CountedHolder, wasUsed: Used, nowMs: number): HeldCertificate {
    const { dataplane, backend, rootHashes, serialNumber, issuedAt, notAfter } = holder;
    const use = this.#options.holders.useOf(mesh, dataplane, serialNumber);
    const inUse = use === 'confirmed' || (use === 'unknown' && this.#isSettled(mesh, holder, nowMs));
    const before = inUse ? undefined : followed(holder, wasUsed);
    return { dataplane, backend, rootHashes, serialNumber, issuedAt, notAfter, inUse, before };
  }

  /** Over HTTP nobody acknowledges: whoever got a certificate uses it a while later, unless it has said since that it uses another one. */
  #isSettled(mesh: string, { dataplane, serialNumber, issuedAt }: CountedHolder, nowMs: number): boolean {
    const { holders, settleMs } = this.#options;
    const doubtMs = holders.usesOther(mesh, dataplane, serialNumber)?.getTime() ?? Number.NEGATIVE_INFINITY;
    return Math.max(issuedAt.getTime(), doubtMs) + settleMs <= nowMs;
  }

  #keepUsed(
    mesh: string,
    certificates: readonly CountedHolder[],
    members: readonly FleetMember[],
    wasUsed: Used,
  ): void {
    const doubtful = new Set<string>();
    for (const { dataplane, certificate } of members) if (certificate?.inUse === false) doubtful.add(dataplane);
    const stillUsed = (holder: CountedHolder) =>
      doubtful.has(holder.dataplane) ? (followed(holder, wasUsed) ?? []) : holder;
    const used = doubtful.size > 0 ? certificates.flatMap(stillUsed) : certificates;
    if (used.length > 0) setNewest(this.#used, mesh, new Used(used), MOST_MESHES);
    else this.#used.delete(mesh);
  }
}

/** The one that was used before this one; undefined: nobody knows, or another one was issued between the two. */
function followed({ dataplane, regenerations }: CountedHolder, wasUsed: Used): CountedHolder | undefined {
  const before = wasUsed.by(dataplane);
  return before?.regenerations === regenerations - 1 ? before : undefined;
}

interface ReadContext {
  readonly mesh: string;
  readonly rootsOf: ReadonlyMap<number, ReadonlySet<string>>;
  readonly nowMs: number;
  readonly wasUsed: Used;
}

interface Known {
  readonly dataplane: string;
  holder: CountedHolder | undefined;
  statement: TrustStatement | undefined;
  seen: Date | undefined;
}

/** By data plane, sorted. Test certificates belong to nobody. */
function joined(
  certificates: readonly CountedHolder[],
  statements: readonly TrustStatement[],
  seen: ReadonlyMap<string, Date>,
): readonly Known[] {
  const found = new Map<string, Known>();
  const of = (dataplane: string): Known => {
    let known = found.get(dataplane);
    if (known === undefined) {
      known = { dataplane, holder: undefined, statement: undefined, seen: undefined };
      found.set(dataplane, known);
    }
    return known;
  };
  for (const holder of certificates) of(holder.dataplane).holder = holder;
  for (const statement of statements) of(statement.dataplane).statement = statement;
  for (const [dataplane, at] of seen) of(dataplane).seen = at;
  found.delete(RESERVED_NAME);
  // Almost sorted already.
  return [...found.values()].sort(byDataplane);
}

/** -Infinity: never. */
function lastSightMs({ holder, statement, seen }: Known): number {
  const never = Number.NEGATIVE_INFINITY;
  return Math.max(
    holder?.issuedAt.getTime() ?? never,
    statement?.statedAt.getTime() ?? never,
    seen?.getTime() ?? never,
  );
}
