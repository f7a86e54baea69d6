import { createReissueOrder, type ReissueOrder } from '../../src/issuance/reissue-plan.ts';
import { backendChange, fingerprintsOf } from '../../src/rotation/change.ts';
import type { Fleet, FleetMember } from '../../src/rotation/fleet.ts';
import { advance, type Facts, type Holding } from '../../src/rotation/machine.ts';
import { measure } from '../../src/rotation/measure.ts';
import {
  isUnderWay,
  type RotationRecord,
  readRotationRecord,
  sidesOf,
  writeRotationRecord,
} from '../../src/rotation/rotation-record.ts';
import { applyRequest, applyRollBack, type RotationRequest } from '../../src/rotation/rotation-request.ts';
import type { CertificateHolder } from '../../src/store/store.ts';
import type { TrustBundle, TrustRoot } from '../../src/trust/trust-bundle.ts';

/** `dataplaneOnlineFor`. */
export const ONLINE_MS = 20_000;
const LIFE_MS = 120_000;
/** The longest that a proxy's workers take after its ACK. */
const WORKERS_MS = 900;
const START_MS = Date.parse('2026-09-01T12:00:00.000Z');

/** What the model leaves out on purpose, to show that it would be noticed. */
export interface Sabotage {
  /** Steps are taken without looking whether the data planes are ready. */
  readonly withoutValidators?: boolean;
  /** One reading is enough. */
  readonly withoutSecondReading?: boolean;
  /** After a start nobody counts as online who was not heard of. */
  readonly withoutUnheard?: boolean;
}

/** Where a turn of the machine may be cut off. */
export type Crash = 'before the record' | 'before the effect' | 'after the effect';

interface Cert extends CertificateHolder {
  readonly root: string;
}

/** Something that a proxy has acknowledged, and that its workers do from `sinceMs` on. */
interface Taken<T> {
  readonly value: T;
  readonly sinceMs: number;
}

interface Proxy {
  readonly name: string;
  isConnected: boolean;
  /** It has all that it was given when it connected: from then on it talks to the others. */
  isReady: boolean;
  lastHeardMs: number;
  /** Heard of since mesh-ca started. */
  isKnown: boolean;
  /** The bundle that its workers use, and the one that they are about to. */
  trusts: Taken<ReadonlySet<string>>[];
  heldVersion: number | undefined;
  /** What its workers present, and are about to. */
  presents: Taken<Cert>[];
  /** As recorded: what it was answered last. */
  recorded: Cert | undefined;
  isAcknowledged: boolean;
}

/** A mesh, its proxies and mesh-ca, without time or waiting of its own: the real machine, measure, plans and requests; all else is as simple as it can be. */
export class ModelMesh {
  nowMs = START_MS;
  readonly proxies: Proxy[] = [];
  readonly #sabotage: Sabotage;
  // What lasts: the Mesh, the bundles, the record.
  #enabled = 'a';
  #listed: readonly string[] = ['a', 'b'];
  readonly #cas = new Map([
    ['a', { roots: ['a1'], signing: 'a1' }],
    ['b', { roots: ['b1'], signing: 'b1' }],
  ]);
  readonly #bundles: TrustBundle[] = [];
  #record: RotationRecord | undefined;
  // What a crash loses.
  #startedMs = START_MS - 10 * ONLINE_MS;
  #holding: Holding | undefined;
  #order: ReissueOrder | undefined;
  #orderKey = '';
  #serial = 0;
  /** Rotations that went forward, or back, to their end; and what was done on the way. */
  readonly counts = { done: 0, rolledBack: 0, switched: 0, removed: 0, restored: 0, crashes: 0 };

  constructor(sabotage: Sabotage = {}) {
    this.#sabotage = sabotage;
    this.#refreshBundle();
  }

  get #bundle(): TrustBundle {
    return this.#bundles.at(-1) ?? bundleOf(0, new Map());
  }

  // What proxies do.

  join(): void {
    if (this.proxies.length >= 5) return;
    const name = `p${this.proxies.length}`;
    const proxy: Proxy = {
      ...{ name, isConnected: false, isReady: false, lastHeardMs: 0, isKnown: false },
      ...{ trusts: [], heldVersion: undefined, presents: [], recorded: undefined, isAcknowledged: false },
    };
    this.proxies.push(proxy);
    this.connect(proxy);
  }

  connect(proxy: Proxy): void {
    if (proxy.isConnected) return;
    proxy.isReady = this.isLive(proxy);
    proxy.isConnected = true;
    this.#hear(proxy);
  }

  disconnect(proxy: Proxy): void {
    if (proxy.isConnected) this.#hear(proxy);
    proxy.isConnected = false;
  }

  /** @param share of the longest time that its workers may take */
  takeBundle(proxy: Proxy, share: number): void {
    if (!proxy.isConnected) return;
    this.#hear(proxy);
    const bundle = this.#bundle;
    if (proxy.heldVersion === bundle.version) return;
    proxy.trusts = [
      ...this.#effective(proxy.trusts),
      { value: bundle.fingerprints, sinceMs: this.nowMs + share * WORKERS_MS },
    ];
    proxy.heldVersion = bundle.version;
  }

  ask(proxy: Proxy): void {
    if (!proxy.isConnected) return;
    this.#hear(proxy);
    // What is on its way to it has to be taken first.
    if (proxy.recorded !== undefined && !proxy.isAcknowledged) return;
    if (proxy.recorded !== undefined && this.#stands(proxy.recorded)) return;
    const root = this.#cas.get(this.#enabled)?.signing ?? '';
    this.#serial += 1;
    proxy.recorded = {
      ...{
        dataplane: proxy.name,
        backend: this.#enabled,
        root,
        rootHashes: [hashOf(root)],
        serialNumber: String(this.#serial),
      },
      ...{ issuedAt: new Date(this.nowMs), notAfter: new Date(this.nowMs + LIFE_MS) },
    };
    proxy.isAcknowledged = false;
  }

  takeCertificate(proxy: Proxy, share: number): void {
    if (!proxy.isConnected || proxy.recorded === undefined || proxy.isAcknowledged) return;
    this.#hear(proxy);
    proxy.isAcknowledged = true;
    proxy.presents = [
      ...this.#effective(proxy.presents),
      { value: proxy.recorded, sinceMs: this.nowMs + share * WORKERS_MS },
    ];
    // A proxy starts with its listeners closed until it has all that it was given.
    if (!proxy.isReady && proxy.heldVersion === this.#bundle.version) this.#makeReady(proxy);
  }

  pass(ms: number): void {
    this.nowMs += ms;
    for (const proxy of this.proxies) {
      if (proxy.isConnected) this.#hear(proxy);
      proxy.trusts = this.#effective(proxy.trusts);
      proxy.presents = this.#effective(proxy.presents);
      if (!proxy.isConnected && !this.#isRemembered(proxy)) proxy.isReady = false;
    }
  }

  // What operators do.

  put(request: Omit<RotationRequest, 'to'>, to?: string): void {
    const before = this.#record;
    const target = to ?? (isUnderWay(before) ? before.to : this.#listed.find((name) => name !== this.#enabled));
    if (target === undefined) this.#listed = ['a', 'b'];
    this.#refreshBundle();
    const other = target ?? (this.#enabled === 'a' ? 'b' : 'a');
    this.#change(() =>
      applyRequest(
        before,
        { ...request, to: other },
        { mesh: this.#mesh(), canRenew: false, now: new Date(this.nowMs) },
      ),
    );
  }

  rollBack(): void {
    const record = this.#record;
    if (!isUnderWay(record)) return;
    this.#change(() => applyRollBack('m', record, { canGoBack: true, now: new Date(this.nowMs) }));
  }

  /** A root joins upstream; before a backend issues it may even begin to sign with it. After that its operator waits until it is trusted. */
  addRoot(backend: string): void {
    const ca = this.#cas.get(backend);
    if (ca === undefined || ca.roots.length >= 3) return;
    const root = `${backend}${ca.roots.length + 1}`;
    ca.roots.push(root);
    this.#refreshBundle();
    if (this.#enabled !== backend) ca.signing = root;
  }

  crash(): void {
    this.counts.crashes += 1;
    this.#startedMs = this.nowMs;
    this.#holding = undefined;
    this.#orderKey = '';
    const record = this.#record && readRotationRecord({ body: writeRotationRecord(this.#record) });
    this.#record = record;
    this.#order = isUnderWay(record) ? this.#holdBoth(record) : undefined;
    for (const proxy of this.proxies) {
      this.disconnect(proxy);
      proxy.isKnown = false;
    }
  }

  /** One turn of the loop of `LiveRotation`, cut off at `crash`. */
  turn(crash?: Crash): void {
    const before = this.#record;
    if (!isUnderWay(before)) {
      this.#order = undefined;
      return;
    }
    const fleet = this.#fleet();
    const facts = this.#facts(before, fleet);
    const { record, effect, holding } = advance(before, this.#sabotaged(before, facts), facts);
    this.#holding = holding;
    if (crash === 'before the record') {
      this.crash();
      return;
    }
    const at = this.#listed.indexOf(sidesOf(record).other);
    const fromRoots = fingerprintsOf(this.#bundle, sidesOf(record).other);
    const kept: RotationRecord = {
      ...record,
      ...(effect === 'remove-old' && at >= 0 && { removed: { index: at, spec: { name: sidesOf(record).other } } }),
      ...(effect === 'remove-old' && fromRoots !== undefined && { fromRoots: [...fromRoots] }),
    };
    if (kept !== before) this.#record = kept;
    if (record.step === 'done') this.counts[record.direction === 'back' ? 'rolledBack' : 'done'] += 1;
    if (crash === 'before the effect') {
      this.crash();
      return;
    }
    if (effect === undefined) {
      this.#arrange(kept, fleet, facts.issuing);
      return;
    }
    if (effect === 'issue-with-target') this.#order = this.#holdBoth(kept);
    this.#carryOut(effect, kept);
    if (crash === 'after the effect') this.crash();
    else if (effect === 'issue-with-target') this.#arrange(kept, fleet, 'target');
  }

  /** The first that does not accept another; undefined when all is well. */
  broken(): string | undefined {
    const live = this.proxies.filter((proxy) => this.isLive(proxy));
    const presented = new Map<string, string>();
    for (const proxy of live) {
      const certificate = this.#now(proxy.presents);
      if (certificate !== undefined && certificate.notAfter.getTime() > this.nowMs)
        presented.set(certificate.root, proxy.name);
    }
    for (const { name, trusts } of live) {
      const trusted = this.#now(trusts);
      for (const [root, other] of presented) {
        if (trusted?.has(hashOf(root)) !== true) return `${name} does not accept ${other} (${root})`;
      }
    }
    return undefined;
  }

  isLive(proxy: Proxy): boolean {
    return proxy.isReady && (proxy.isConnected || this.#isRemembered(proxy));
  }

  // mesh-ca, as simple as can be.

  #change(decide: () => RotationRecord): void {
    const before = this.#record;
    let record: RotationRecord;
    try {
      record = decide();
    } catch {
      return;
    }
    if (record === before) return;
    this.#record = record;
    this.#holding = undefined;
    if (isUnderWay(record)) {
      this.#order = this.#holdBoth(record);
      this.#orderKey = '';
    }
  }

  #carryOut(effect: NonNullable<ReturnType<typeof advance>['effect']>, record: RotationRecord): void {
    const { target, other } = sidesOf(record);
    if (effect === 'issue-with-target') {
      this.#enabled = target;
      this.counts.switched += 1;
    } else if (effect === 'remove-old') {
      this.#listed = this.#listed.filter((name) => name !== other);
      this.counts.removed += 1;
    } else {
      this.#listed = this.#listed.toSpliced(record.removed?.index ?? 0, 0, target);
      this.counts.restored += 1;
    }
    this.#refreshBundle();
  }

  #facts(record: RotationRecord, fleet: Fleet): Facts {
    const { target, other } = sidesOf(record);
    const readiness = measure(fleet, backendChange(fleet.bundle, other, target), {});
    const signing = this.#cas.get(target)?.signing ?? '';
    const gone = (record.fromRoots ?? []).filter((root) => !fleet.bundle.fingerprints.has(root));
    const hasOld = this.#listed.includes(other);
    const force = this.#sabotage.withoutValidators === true;
    return {
      at: new Date(this.nowMs),
      atMs: this.nowMs,
      issuing: this.#enabled === target ? 'target' : this.#enabled === other ? 'old' : 'neither',
      hasTarget: this.#listed.includes(target),
      hasOld,
      trusted: force || (readiness.notTrusting.length === 0 && fleet.bundle.fingerprints.has(hashOf(signing))),
      moved: force || readiness.notSwitched.length === 0,
      drained: force || readiness.offlineOld.length === 0,
      forgotten: !fleet.members.some(
        ({ online, heldRoots }) => online && !hasOld && gone.some((root) => heldRoots.has(root)),
      ),
    };
  }

  /** Without the second reading each rule has held for ever. */
  #sabotaged(record: RotationRecord, facts: Facts): Holding | undefined {
    if (this.#sabotage.withoutSecondReading !== true) return this.#holding;
    const rule = advance(record, undefined, facts).holding?.rule;
    return rule === undefined ? undefined : { rule, sinceMs: Number.NEGATIVE_INFINITY };
  }

  #fleet(): Fleet {
    const members = this.proxies.map((proxy): FleetMember => {
      const { name, recorded, heldVersion, isAcknowledged } = proxy;
      const certificate = recorded !== undefined && recorded.notAfter.getTime() > this.nowMs ? recorded : undefined;
      const isYoung = this.nowMs < this.#startedMs + ONLINE_MS;
      const unheard = certificate !== undefined && !proxy.isKnown && isYoung && this.#sabotage.withoutUnheard !== true;
      const held = this.#bundles.find(({ version }) => version === heldVersion);
      return {
        dataplane: name,
        online: unheard || (proxy.isKnown && (proxy.isConnected || this.nowMs - proxy.lastHeardMs < ONLINE_MS)),
        unheard,
        heldVersion,
        heldRoots: held?.fingerprints ?? new Set(),
        refusal: undefined,
        certificate: certificate && { ...certificate, inUse: isAcknowledged },
      };
    });
    return { mesh: 'm', readAt: new Date(this.nowMs), bundle: this.#bundle, versions: [], members };
  }

  #arrange(record: RotationRecord, fleet: Fleet, issuing: Facts['issuing']): void {
    const { paused, step, options, direction, startedAt } = record;
    if (step === 'done') {
      this.#order = undefined;
      return;
    }
    const holds = paused !== undefined || issuing !== 'target' || step === 'trusting';
    const mode = holds ? 'hold' : options.immediate ? 'at-once' : 'spread';
    const key = `${startedAt.getTime()}/${direction}/${mode}/${issuing}/${options.maxPerSecond}`;
    if (key === this.#orderKey) return;
    this.#orderKey = key;
    const { target, other } = sidesOf(record);
    const sideOf = ({ backend }: CertificateHolder) =>
      backend === target ? 'target' : backend === other ? 'old' : undefined;
    this.#order = createReissueOrder({
      ...{ mesh: 'm', startedAt, mode, beginAt: new Date(this.nowMs), maxPerSecond: options.maxPerSecond },
      sideOf: (holder) => (mode === 'hold' && sideOf(holder) === issuing ? undefined : sideOf(holder)),
      first: fleet.members
        .filter(({ certificate }) => certificate?.backend === other)
        .map(({ dataplane }) => dataplane),
    });
  }

  #holdBoth({ startedAt, options }: RotationRecord): ReissueOrder {
    const { maxPerSecond } = options;
    const sideOf = () => 'old' as const;
    return createReissueOrder({
      mesh: 'm',
      startedAt,
      sideOf,
      mode: 'hold',
      first: [],
      beginAt: startedAt,
      maxPerSecond,
    });
  }

  /** As `find-standing.ts` has it. */
  #stands(held: Cert): boolean {
    const ageMs = this.nowMs - held.issuedAt.getTime();
    if (ageMs >= LIFE_MS * 0.8 || !this.#listed.includes(held.backend)) return false;
    const turn = this.#order?.plan(held, new Date(this.nowMs));
    return turn instanceof Date || (turn === undefined && held.backend === this.#enabled);
  }

  #refreshBundle(): void {
    const roots = new Map(this.#listed.map((name) => [name, this.#cas.get(name)?.roots ?? []]));
    const next = bundleOf(this.#bundle.version + 1, roots);
    if (next.pem !== this.#bundle.pem) this.#bundles.push(next);
  }

  #mesh() {
    const backends = this.#listed.map((name) => ({
      name,
      type: 't',
      mode: 'STRICT' as const,
      dpCert: undefined,
      rootChain: undefined,
    }));
    const mtls = { enabledBackend: this.#enabled, skipValidation: false, backends };
    return { type: 'Mesh' as const, name: 'm', mtls };
  }

  #hear(proxy: Proxy): void {
    proxy.lastHeardMs = this.nowMs;
    proxy.isKnown = true;
  }

  #isRemembered(proxy: Proxy): boolean {
    return this.nowMs - proxy.lastHeardMs < ONLINE_MS;
  }

  #makeReady(proxy: Proxy): void {
    proxy.isReady = true;
    proxy.trusts = proxy.trusts.slice(-1).map(({ value }) => ({ value, sinceMs: this.nowMs }));
    proxy.presents = proxy.presents.slice(-1).map(({ value }) => ({ value, sinceMs: this.nowMs }));
  }

  #now<T>(taken: readonly Taken<T>[]): T | undefined {
    return taken.findLast(({ sinceMs }) => sinceMs <= this.nowMs)?.value;
  }

  /** Without those that a later one has replaced. */
  #effective<T>(taken: Taken<T>[]): Taken<T>[] {
    const present = taken.findLastIndex(({ sinceMs }) => sinceMs <= this.nowMs);
    return present <= 0 ? taken : taken.slice(present);
  }
}

const hashes = new Map<string, string>();
function hashOf(root: string): string {
  const known = hashes.get(root) ?? Buffer.from(root.padEnd(32, '.')).toString('hex');
  hashes.set(root, known);
  return known;
}

const contents = new Map<string, Pick<TrustBundle, 'roots' | 'fingerprints' | 'pem'>>();

/** `pem` is enough to see whether two are the same. */
function bundleOf(version: number, roots: ReadonlyMap<string, readonly string[]>): TrustBundle {
  const pem = [...roots]
    .flatMap(([, names]) => names)
    .sort()
    .join();
  let content = contents.get(pem);
  if (content === undefined) {
    const all = [...roots].flatMap(([backend, names]) =>
      names.map((name) => ({ backends: [backend], fingerprintSha256: hashOf(name), pem: name })),
    );
    const fingerprints = new Set(all.map(({ fingerprintSha256 }) => fingerprintSha256));
    // No certificate is looked at here.
    content = { roots: all as readonly unknown[] as readonly TrustRoot[], fingerprints, pem };
    contents.set(pem, content);
  }
  return { mesh: 'm', version, ...content };
}
