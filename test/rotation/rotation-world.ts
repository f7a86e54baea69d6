import { setMaxListeners } from 'node:events';
import type { Backend } from '../../src/backends/backend.ts';
import { Backends } from '../../src/backends/backends.ts';
import { createLastSeen } from '../../src/issuance/last-seen.ts';
import { StoreUnavailableError } from '../../src/issuer/errors.ts';
import type { CaGenerations, CallOptions, IssuerModule } from '../../src/issuer/issuer.ts';
import type { Mesh } from '../../src/mesh/mesh.ts';
import { Fleets } from '../../src/rotation/fleets.ts';
import { type RotationRequest, Rotations, type RotationView } from '../../src/rotation/rotations.ts';
import { createMetrics } from '../../src/runtime/metrics.ts';
import { createSystemRandom } from '../../src/runtime/random.ts';
import { createSharedResources } from '../../src/runtime/shared-resources.ts';
import { createMemoryStore } from '../../src/store/memory/memory-store.ts';
import type { CertificateRecord, Store } from '../../src/store/store.ts';
import { createHolders } from '../../src/trust/holders.ts';
import type { TrustBundle } from '../../src/trust/trust-bundle.ts';
import { TrustBundles } from '../../src/trust/trust-bundles.ts';
import type { ProofCheck } from '../../src/validation/proof.ts';
import { Proofs } from '../../src/validation/proofs.ts';
import { createFakeClock, createTestDeps, type FakeClock, TEST_START } from '../conformance/issuer-deps.ts';
import { createListLog, type LogLine } from '../support/list-log.ts';
import { passTime } from '../support/pass-time.ts';
import { rootDer, rootHash } from './build-fleet.ts';

export const MESH = 'default';
export const ONLINE_FOR_MS = 60_000;
export const SETTLE_MS = 5_000;
const HOUR_MS = 3_600_000;

/** What stands behind the backends, and survives a restart of mesh-ca. Roots are names of `testRoot`. */
export interface Upstream {
  /** Backend -> its roots, and the one that it signs with. */
  readonly cas: Map<string, { roots: string[]; signing: string }>;
  /** Backend -> the generations of its CA, that which signs first. */
  readonly generations: Map<string, string[]>;
  /** Backend -> what dropping the other generations of its CA writes last: the generation that is left. */
  readonly copies: Map<string, string>;
  /** So often dropping ends before that. */
  unfinishedDrops: number;
  /** Checks that fail, by backend. */
  readonly failing: Map<string, string>;
  /** How many proofs were made, by backend. */
  readonly proofs: Map<string, number>;
}

export interface WorldParts {
  readonly store?: Store;
  readonly clock?: FakeClock;
  readonly upstream?: Upstream;
  readonly builtinRootRenewal?: boolean;
  /** Between the store and the rotations: to let it fail. */
  readonly wrapStore?: (store: Store) => Store;
  /** Between the data planes and the rotations: to let them look past each other. */
  readonly wrapFleets?: (fleets: Fleets) => Pick<Fleets, 'read'>;
}

export function createUpstream(): Upstream {
  const ca = (name: string) => ({ roots: [name], signing: name });
  const cas = new Map(['ca-1', 'ca-2', 'ca-3'].map((name) => [name, ca(`${name}-root`)]));
  const generations = new Map([['own', ['own-g1']]]);
  return { cas, generations, copies: new Map(), unfinishedDrops: 0, failing: new Map(), proofs: new Map() };
}

export interface SimulatedProxy {
  readonly name: string;
  /** What it trusts, SHA-256 (hex). */
  trusts: ReadonlySet<string>;
  /** What it presents. */
  certificate: CertificateRecord | undefined;
}

export type RotationWorld = Awaited<ReturnType<typeof startRotationWorld>>;

/** A mesh on a memory store with everything that rotations need, backends that are played, and data planes that do as they are told. */
export async function startRotationWorld(given: WorldParts = {}) {
  const clock = given.clock ?? createFakeClock(TEST_START);
  const store = given.store ?? createMemoryStore({ clock });
  const upstream = given.upstream ?? createUpstream();
  const lines: LogLine[] = [];
  const log = createListLog(lines);
  const seenStore = given.wrapStore?.(store) ?? store;
  const changes: string[] = [];

  const backends = new Backends({
    store,
    adapters: { played: async () => playedModule(upstream), own: async () => ownModule(upstream, store) },
    ...{ clock, log },
    random: createSystemRandom(),
    metrics: createMetrics({ clock }),
    fileDirs: [],
    shared: createSharedResources(),
    issuerSettings: createTestDeps().settings,
    defaults: { expirationMs: HOUR_MS, issueTimeoutMs: 30_000 },
  });
  const bundles = new TrustBundles({ store, backends, clock, log });
  const holders = createHolders({ store, clock, log });
  const lastSeen = createLastSeen(clock);
  const fleets = new Fleets({
    store: seenStore,
    bundles,
    holders,
    lastSeen,
    clock,
    onlineForMs: ONLINE_FOR_MS,
    settleMs: SETTLE_MS,
  });
  const proofs = new Proofs({
    store,
    backends,
    clock,
    log,
    prove: async (backend) => playedProof(backend, upstream, clock),
  });
  await proofs.restore();
  const rotations = new Rotations({
    store: seenStore,
    ...{ backends, bundles, proofs, holders, clock, log },
    fleets: given.wrapFleets?.(fleets) ?? fleets,
    builtinRootRenewal: given.builtinRootRenewal ?? false,
  });
  rotations.onChange((mesh) => changes.push(mesh));
  await rotations.restore();
  rotations.start();

  let serial = clock.now().getTime();
  const world = {
    ...{ given, clock, store, upstream, backends, bundles, holders, lastSeen, rotations, lines, changes },

    async putMesh(names: readonly string[], enabledBackend = names[0] ?? '', more: object = {}) {
      const specs = names.map((name) => ({ name, type: name === 'own' ? 'own' : 'played', conf: {} }));
      const body = JSON.stringify({ mtls: { enabledBackend, backends: specs, ...more } });
      await store.putResource({ type: 'Mesh', mesh: '', name: MESH, body });
    },
    async mesh(): Promise<{ enabled: string; backends: readonly string[]; mesh: Mesh }> {
      const { mesh } = await backends.get(MESH);
      return {
        mesh,
        enabled: mesh.mtls?.enabledBackend ?? '',
        backends: mesh.mtls?.backends.map(({ name }) => name) ?? [],
      };
    },

    put: (request: RotationRequest) => rotations.put(MESH, request, calm()),
    rollBack: () => rotations.rollBack(MESH, calm()),
    view: (): Promise<RotationView> => rotations.view(MESH, calm()),
    /** Lets time pass until the rotation is in this state. @throws when it does not get there within two minutes */
    async until(state: RotationView['state'], mostMs = 120_000): Promise<RotationView> {
      for (let passedMs = 0; passedMs <= mostMs; passedMs += 250) {
        const view = await world.view();
        if (view.state === state) return view;
        await world.pass(250);
      }
      throw new Error(`not ${state}: ${JSON.stringify(await world.view())}`);
    },
    pass: (ms: number): Promise<void> => passTime(clock, ms),

    bundle: (): Promise<TrustBundle> => bundles.get(MESH, calm()),
    /** It takes the present bundle, and says so. */
    async takeBundle(proxy: SimulatedProxy): Promise<void> {
      const bundle = await world.bundle();
      proxy.trusts = bundle.fingerprints;
      lastSeen.note(MESH, proxy.name);
      await holders.accepted(MESH, proxy.name, bundle.version);
    },
    /** It asks for a certificate as `Certificates` would answer it. */
    async ask(proxy: SimulatedProxy): Promise<CertificateRecord | undefined> {
      lastSeen.note(MESH, proxy.name);
      const from = await backends.get(MESH);
      const { enabled } = from;
      if (enabled === undefined) return undefined;
      const now = clock.now();
      const held = proxy.certificate;
      const isValid = held !== undefined && held.notAfter > now && from.backends.has(held.backend);
      if (isValid) {
        const turn = rotations.plans.of(MESH)?.(held, now);
        if (turn instanceof Date || (turn === undefined && held.backend === enabled.name)) return undefined;
      }
      const record = world.record(proxy.name, enabled.name);
      await bundles.learn(MESH, enabled.name, [rootDer(signingOf(upstream, enabled.name))], calm());
      await store.recordCertificate(record);
      holders.sent(MESH, proxy.name, record.serialNumber);
      return record;
    },
    /** It presents this certificate from now on, and says so. */
    use(proxy: SimulatedProxy, record: CertificateRecord | undefined): void {
      if (record === undefined) return;
      proxy.certificate = record;
      holders.uses(MESH, proxy.name, record.serialNumber);
    },
    record(dataplane: string, backend: string, lifeMs = HOUR_MS): CertificateRecord {
      const issuedAt = clock.now();
      serial += 1;
      const notAfter = new Date(issuedAt.getTime() + lifeMs);
      return {
        ...{ mesh: MESH, dataplane, backend, backendType: 'played', backendHash: '', identityHash: '', keyHash: '' },
        ...{ leaf: Buffer.of(), chain: [], rootHashes: [rootHash(signingOf(upstream, backend))] },
        serialNumber: serial.toString(16).padStart(16, '0'),
        ...{ issuedAt, notBefore: issuedAt, notAfter, renewAt: notAfter },
      };
    },
    /** One that trusts the present bundle, and presents a certificate of the enabled backend. */
    async join(name: string): Promise<SimulatedProxy> {
      const proxy: SimulatedProxy = { name, trusts: new Set(), certificate: undefined };
      await world.takeBundle(proxy);
      world.use(proxy, await world.ask(proxy));
      return proxy;
    },
    /** What an SDS session does: bundle and certificate are taken as soon as they are there. */
    async follow(proxy: SimulatedProxy): Promise<void> {
      await world.takeBundle(proxy);
      world.use(proxy, await world.ask(proxy));
    },
    /** All of them follow each 250 ms until the rotation is in this state. */
    async followUntil(
      state: RotationView['state'],
      proxies: readonly SimulatedProxy[],
      mostMs = 120_000,
    ): Promise<RotationView> {
      for (let passedMs = 0; passedMs <= mostMs; passedMs += 250) {
        for (const proxy of proxies) await world.follow(proxy);
        const view = await world.view();
        if (view.state === state) return view;
        await world.pass(250);
      }
      throw new Error(`not ${state}: ${JSON.stringify(await world.view())}`);
    },
    async stop(): Promise<void> {
      await rotations.close();
      await proofs.close();
      await bundles.close();
      await backends.close();
    },
    async close() {
      await world.stop();
      await store.close();
    },
  };
  return world;
}

/** mesh-ca stops, and starts again on the same store. */
export async function restart(world: RotationWorld, more: WorldParts = {}): Promise<RotationWorld> {
  const { given, store, clock, upstream } = world;
  await world.stop();
  return startRotationWorld({ ...given, store, clock, upstream, ...more });
}

/** A signal that never fires. */
export function calm(): CallOptions {
  const { signal } = new AbortController();
  setMaxListeners(0, signal);
  return { signal };
}

/** Whether `a` accepts what `b` presents. */
export function accepts(a: SimulatedProxy, b: SimulatedProxy): boolean {
  return b.certificate?.rootHashes.every((root) => a.trusts.has(root)) ?? true;
}

export function signingOf(upstream: Upstream, backend: string): string {
  return upstream.generations.get(backend)?.[0] ?? upstream.cas.get(backend)?.signing ?? `${backend}-root`;
}

async function playedProof(backend: Backend, upstream: Upstream, clock: FakeClock) {
  upstream.proofs.set(backend.name, (upstream.proofs.get(backend.name) ?? 0) + 1);
  const failing = upstream.failing.get(backend.name);
  const check: ProofCheck = {
    name: failing ?? 'played.reachable',
    status: failing === undefined ? 'passed' : 'failed',
    message: failing === undefined ? 'is well' : 'is down',
    durationMs: 1,
  };
  return {
    ...{ mesh: backend.mesh, backend: backend.name, type: backend.type, backendHash: backend.hash },
    ...{ ok: failing === undefined, retry: true, provenAt: clock.now(), durationMs: 1, checks: [check] },
    roots: [rootDer(signingOf(upstream, backend.name))],
  };
}

const never = () => Promise.reject(new Error('a played backend signs nothing'));

function playedModule({ cas }: Upstream): IssuerModule<unknown> {
  return {
    type: 'played',
    local: false,
    checks: [],
    parseConf: (conf) => conf,
    usedSecrets: () => [],
    create: ({ backend }) => ({
      subject: () => ({ commonName: '', dnsNames: [] }),
      abilities: never,
      sign: never,
      trustBundle: async () => ({ roots: cas.get(backend)?.roots.map(rootDer) ?? [], intermediates: [] }),
      inspect: never,
      close: async () => {},
    }),
  };
}

/** A CA of our own with generations; as with `builtin`, a change of them is a change of its secrets. */
function ownModule(upstream: Upstream, store: Store): IssuerModule<unknown> {
  const { generations, copies } = upstream;
  return {
    type: 'own',
    local: true,
    checks: [],
    parseConf: (conf) => conf,
    usedSecrets: () => ['own-ca'],
    followedSecrets: () => ['own-ca'],
    laterSecrets: () => ['own-ca'],
    create: ({ mesh, backend }) => {
      const now = () => generations.get(backend) ?? [];
      const told = (): CaGenerations => {
        const [signing = '', ...others] = now();
        return { signing: rootDer(signing), others: others.map(rootDer) };
      };
      const change = async (names: readonly string[]): Promise<CaGenerations> => {
        if (names.join() !== now().join()) {
          generations.set(backend, [...names]);
          const body = JSON.stringify({ data: Buffer.from(names.join()).toString('base64') });
          await store.putResource({ type: 'Secret', mesh, name: 'own-ca', body });
        }
        return told();
      };
      return {
        subject: () => ({ commonName: '', dnsNames: [] }),
        abilities: never,
        sign: never,
        trustBundle: async () => ({ roots: now().map(rootDer), intermediates: [] }),
        inspect: never,
        close: async () => {},
        generations: async () => told(),
        prepareNext: async () =>
          change(now().length > 1 ? now() : [...now(), `own-g${Number(now()[0]?.slice(-1)) + 1}`]),
        signWith: async (root: Buffer) => {
          const chosen = now().find((name) => rootDer(name).equals(root));
          if (chosen === undefined) throw new Error('no such generation');
          return change([chosen, ...now().filter((name) => name !== chosen)]);
        },
        async dropOthers() {
          const [left = ''] = now();
          const changed = await change([left]);
          if (upstream.unfinishedDrops-- > 0) throw new StoreUnavailableError('the store is gone');
          copies.set(backend, left);
          return changed;
        },
      };
    },
  };
}

/** Three data planes on ca-1; ca-2 was added, which they have not heard of yet. */
export async function startThreeProxies(): Promise<{
  readonly world: RotationWorld;
  readonly proxies: SimulatedProxy[];
}> {
  const world = await startRotationWorld();
  await world.putMesh(['ca-1']);
  const proxies: SimulatedProxy[] = [];
  for (const name of ['web-1', 'web-2', 'web-3']) proxies.push(await world.join(name));
  await world.putMesh(['ca-1', 'ca-2']);
  return { world, proxies };
}

/** The states that a rotation has been in, in order. */
export const statesOf = ({ steps }: Pick<RotationView, 'steps'>) => steps.map(({ state }) => state);
