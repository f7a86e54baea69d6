import { ADAPTERS } from '../../adapters/index.ts';
import { Backends } from '../../src/backends/backends.ts';
import { IssuancePendingError } from '../../src/issuer/errors.ts';
import type { IssuerModule } from '../../src/issuer/issuer.ts';
import { createMetrics } from '../../src/runtime/metrics.ts';
import { createSystemRandom } from '../../src/runtime/random.ts';
import { createSharedResources } from '../../src/runtime/shared-resources.ts';
import { createMemoryStore } from '../../src/store/memory/memory-store.ts';
import type { Store, StoreChange } from '../../src/store/store.ts';
import type { CountLacking } from '../../src/trust/root-gate.ts';
import { TrustBundles } from '../../src/trust/trust-bundles.ts';
import { fingerprintSha256 } from '../../src/x509/certificate.ts';
import { createTestDeps, type FakeClock } from '../conformance/issuer-deps.ts';
import { createFakeCa, createFakeIssuer } from '../fakes/fake-issuer.ts';
import { createListLog, type LogLine } from '../support/list-log.ts';
import { passTime, settle } from '../support/pass-time.ts';

export const live = () => ({ signal: new AbortController().signal });

/** A backend that says what a test wants it to say. */
export interface Upstream {
  /** Undefined: it tells its roots only with certificates. */
  roots: readonly Buffer[] | undefined;
  failure: Error | undefined;
  asked: number;
  /** Awaited before it answers. */
  gate: Promise<void> | undefined;
}

export interface Instance {
  readonly bundles: TrustBundles;
  readonly backends: Backends;
  readonly log: LogLine[];
  /** Versions in the order in which the listener was told. */
  readonly told: number[];
  /** What another process wrote is told to this one. */
  tellUnknown(): void;
  roots(): Promise<readonly string[]>;
  version(): Promise<number>;
  close(): Promise<void>;
}

export const MESH = 'm';
const TYPES = ['up', 'other'] as const;
export type UpstreamType = (typeof TYPES)[number];

export const caDer = async (name: string) => (await createFakeCa(name)).certificate.der;
export const prints = (...roots: readonly Buffer[]) => roots.map(fingerprintSha256).sort();

/** One mesh, a store and a clock that outlive the processes on them. */
export async function createTrustWorld(clock: FakeClock) {
  const store = createMemoryStore({ clock });
  const upstream: Record<UpstreamType, Upstream> = { up: newUpstream(), other: newUpstream() };
  const { module } = await createFakeIssuer();
  const adapters = { ...ADAPTERS, ...Object.fromEntries(TYPES.map((type) => [type, async () => telling(type)])) };

  function telling(type: UpstreamType): IssuerModule<unknown> {
    return {
      ...module,
      type,
      create: (...args) => ({
        ...module.create(...args),
        async trustBundle({ signal }) {
          const { failure, gate } = upstream[type];
          upstream[type].asked += 1;
          await gate;
          signal.throwIfAborted();
          if (failure !== undefined) throw failure;
          const { roots } = upstream[type];
          if (roots === undefined) throw new IssuancePendingError('not known before the first certificate');
          return { roots, intermediates: [] };
        },
      }),
    };
  }

  /** A process of its own, as far as it does not share the store. */
  function start(options: { readonly countLacking?: CountLacking; readonly store?: Partial<Store> } = {}): Instance {
    const log: LogLine[] = [];
    const common = { clock, log: createListLog(log) };
    const listeners = new Set<(change: StoreChange) => void>();
    const own: Store = {
      ...store,
      ...options.store,
      onChange(listener) {
        listeners.add(listener);
        const stop = store.onChange(listener);
        return () => {
          listeners.delete(listener);
          stop();
        };
      },
    };
    const backends = new Backends({
      ...{ ...common, store: own, adapters, metrics: createMetrics({ clock }) },
      random: createSystemRandom(),
      fileDirs: [],
      shared: createSharedResources(),
      issuerSettings: createTestDeps().settings,
      defaults: { expirationMs: 86_400_000, issueTimeoutMs: 30_000 },
    });
    const { countLacking } = options;
    const bundles = new TrustBundles({
      ...common,
      store: own,
      backends,
      ...(countLacking !== undefined && { countLacking }),
    });
    const told: number[] = [];
    bundles.onChange((mesh) => {
      void store.getTrustBundle(mesh).then((bundle) => told.push(bundle?.version ?? 0));
    });
    return {
      ...{ bundles, backends, log, told },
      tellUnknown() {
        for (const listener of [...listeners]) listener({ kind: 'unknown' });
      },
      roots: async () => [...(await bundles.get(MESH, live())).fingerprints].sort(),
      version: async () => (await bundles.get(MESH, live())).version,
      async close() {
        await bundles.close();
        await backends.close();
      },
    };
  }

  /** The newest bundle in the store: nobody is asked for it. */
  async function storedRoots(): Promise<readonly string[]> {
    const stored = await store.getTrustBundle(MESH);
    const roots: readonly { readonly pem: string }[] = JSON.parse(stored?.body ?? '[]');
    return roots.map(({ pem }) => fingerprintSha256(Buffer.from(pem.replace(/-----.*-----|\s/g, ''), 'base64'))).sort();
  }

  return {
    ...{ store, clock, upstream, start, storedRoots },
    /** Stores the mesh with these backends; the first is enabled. */
    async put(...backends: readonly { name: string; type: string; conf?: object; dpCert?: object }[]) {
      const mtls = { enabledBackend: backends[0]?.name, backends: backends.map((one) => ({ conf: {}, ...one })) };
      await store.putResource({ type: 'Mesh', mesh: '', name: MESH, body: JSON.stringify({ mtls }) });
    },
    async putSecret(name: string, text: string) {
      const data = Buffer.from(text).toString('base64');
      await store.putResource({ type: 'Secret', mesh: MESH, name, body: JSON.stringify({ data }) });
    },
    /** A data plane holds a certificate that ends in this root. */
    async record(dataplane: string, root: Buffer, lifetimeMs: number) {
      const now = clock.now();
      const notAfter = new Date(now.getTime() + lifetimeMs);
      await store.recordCertificate({
        ...{
          mesh: MESH,
          dataplane,
          backend: 'a',
          backendType: 'up',
          backendHash: 'h',
          identityHash: 'i',
          keyHash: 'k',
        },
        ...{ leaf: Buffer.of(1), chain: [], rootHashes: prints(root), serialNumber: '01', issuedAt: now },
        ...{ notBefore: now, notAfter, renewAt: now },
      });
    },
    pass: (ms: number) => passTime(clock, ms),
  };
}
export type TrustWorld = Awaited<ReturnType<typeof createTrustWorld>>;

/** Lets what was set off by a change in the store come to its end; no time passes. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 30; turn += 1) await settle();
}

function newUpstream(): Upstream {
  return { roots: undefined, failure: undefined, asked: 0, gate: undefined };
}
