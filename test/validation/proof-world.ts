import { setMaxListeners } from 'node:events';
import type { Backend } from '../../src/backends/backend.ts';
import { Backends } from '../../src/backends/backends.ts';
import type { CallOptions, IssuerModule } from '../../src/issuer/issuer.ts';
import { createMetrics } from '../../src/runtime/metrics.ts';
import { createSystemRandom } from '../../src/runtime/random.ts';
import { createSharedResources } from '../../src/runtime/shared-resources.ts';
import { createMemoryStore } from '../../src/store/memory/memory-store.ts';
import type { Store } from '../../src/store/store.ts';
import type { Proof, ProofCheck } from '../../src/validation/proof.ts';
import { Proofs } from '../../src/validation/proofs.ts';
import { createFakeClock, createTestDeps, type FakeClock, TEST_START } from '../conformance/issuer-deps.ts';
import { createListLog, type LogLine } from '../support/list-log.ts';
import { passTime, settle } from '../support/pass-time.ts';

/** What one proof says: true, or the checks that fail. */
export type Verdict = true | readonly string[];

/** Meshes in a memory store, with backends that are never asked: the proofs are played. On a clock that the test turns. */
export interface ProofWorld {
  readonly store: Store;
  readonly backends: Backends;
  readonly proofs: Proofs;
  readonly clock: FakeClock;
  /** Proofs that were begun, in order: `mesh/backend`, and when in milliseconds since the start of the world. */
  readonly begun: { readonly what: string; readonly atMs: number }[];
  readonly told: { readonly what: string; readonly ok: boolean }[];
  readonly lines: LogLine[];
  /** Proofs under way now. */
  readonly running: number;
  /** How a proof goes. Default: it passes at once. */
  play: (backend: Backend, options: CallOptions) => Promise<Verdict> | Verdict;
  putMesh(name: string, mtls?: object): Promise<void>;
  backend(mesh: string, name?: string): Promise<Backend>;
  /** A proof of the backend as it is now, made elsewhere. */
  proofOf(backend: Backend, verdict?: Verdict): Proof;
  /** The same store with everything else made anew, and restored. */
  restart(): Promise<ProofWorld>;
  /** Turns the clock, stopping at each timer. */
  pass(ms: number): Promise<void>;
  settle(): Promise<void>;
  close(): Promise<void>;
}

export function fakeMtls(type = 'fake', conf: object = {}, names: readonly string[] = ['ca']): object {
  return { enabledBackend: names[0], backends: names.map((name) => ({ name, type, conf })) };
}

export async function startProofWorld(given: { store?: Store; clock?: FakeClock } = {}): Promise<ProofWorld> {
  const clock = given.clock ?? createFakeClock(TEST_START);
  const store = given.store ?? createMemoryStore({ clock });
  const lines: LogLine[] = [];
  const begun: ProofWorld['begun'] = [];
  const told: ProofWorld['told'] = [];
  const log = createListLog(lines);
  let running = 0;

  const backends = new Backends({
    store,
    adapters: { fake: async () => fakeModule('fake', false), billed: async () => fakeModule('billed', true) },
    clock,
    random: createSystemRandom(),
    log,
    metrics: createMetrics({ clock }),
    fileDirs: [],
    shared: createSharedResources(),
    issuerSettings: createTestDeps().settings,
    defaults: { expirationMs: 86_400_000, issueTimeoutMs: 30_000 },
  });
  const proofs = new Proofs({
    store,
    backends,
    clock,
    log,
    onProven: (backend, { ok }) => void told.push({ what: nameOf(backend), ok }),
    async prove(backend, options) {
      begun.push({ what: nameOf(backend), atMs: clock.now().getTime() - TEST_START.getTime() });
      running += 1;
      try {
        return world.proofOf(backend, await world.play(backend, options));
      } finally {
        running -= 1;
      }
    },
  });
  await proofs.restore();

  const world: ProofWorld = {
    store,
    backends,
    proofs,
    clock,
    begun,
    told,
    lines,
    get running() {
      return running;
    },
    play: () => true,
    async putMesh(name, mtls = fakeMtls()) {
      await store.putResource({ type: 'Mesh', mesh: '', name, body: JSON.stringify({ mtls }) });
    },
    async backend(mesh, name = 'ca') {
      const found = (await backends.get(mesh)).backends.get(name);
      if (found === undefined) throw new Error(`no backend ${mesh}/${name}`);
      return found;
    },
    proofOf(backend, verdict = true) {
      return {
        mesh: backend.mesh,
        backend: backend.name,
        type: backend.type,
        backendHash: backend.hash,
        ok: verdict === true,
        retry: false,
        provenAt: clock.now(),
        durationMs: 12.5,
        checks: [check('fake.reachable', 'passed'), ...(verdict === true ? [] : verdict).map((name) => check(name))],
        rootExpiresAt: new Date('2030-01-01T00:00:00.000Z'),
      };
    },
    async restart() {
      await proofs.close();
      await backends.close();
      return startProofWorld({ store, clock });
    },
    pass: (ms) => passTime(clock, ms),
    settle,
    async close() {
      await proofs.close();
      await backends.close();
      await store.close();
    },
  };
  return world;
}

/** A signal that never fires. */
export function calm(): CallOptions {
  const { signal } = new AbortController();
  setMaxListeners(0, signal);
  return { signal };
}

function check(name: string, status: ProofCheck['status'] = 'failed'): ProofCheck {
  return { name, status, message: `${name} is ${status}`, durationMs: 1 };
}

function nameOf({ mesh, name }: Backend): string {
  return `${mesh}/${name}`;
}

function fakeModule(type: string, billed: boolean): IssuerModule<{ secret?: string }> {
  const never = () => Promise.reject(new Error('a played backend is not asked'));
  return {
    type,
    local: false,
    billed,
    checks: [],
    parseConf: (conf) => ({ ...(typeof conf === 'object' ? conf : {}) }),
    usedSecrets: ({ secret }) => (secret === undefined ? [] : [secret]),
    create: () => ({
      subject: () => ({ commonName: '', dnsNames: [] }),
      abilities: never,
      sign: never,
      trustBundle: never,
      inspect: never,
      close: async () => {},
    }),
  };
}
