import { ConfigError, NotFoundError } from '../issuer/errors.ts';
import type { IssuerModule } from '../issuer/issuer.ts';
import { type Mesh, parseMesh } from '../mesh/mesh.ts';
import type { MeshBackend } from '../mesh/mtls.ts';
import type { BackendLabels, Metrics } from '../runtime/metrics.ts';
import type { Store } from '../store/store.ts';
import type { Backend } from './backend.ts';
import { BackendFactory, type BackendFactoryOptions } from './backend-factory.ts';
import { canonicalJson } from './canonical-json.ts';
import { createSecretAccess } from './store-secrets.ts';
import { createUnstoredSecrets } from './unstored-secrets.ts';

export interface BackendsOptions extends BackendFactoryOptions {
  readonly store: Store;
  readonly metrics: Metrics;
}

/** A mesh with its live backends. A new object after each change of the mesh or of a secret in it: compare by identity. */
export interface MeshBackends {
  readonly mesh: Mesh;
  /** When the Mesh was made: one of the same name that is made later is another mesh. */
  readonly createdAt: Date;
  readonly backends: ReadonlyMap<string, Backend>;
  /** Undefined: mTLS is off. */
  readonly enabled: Backend | undefined;
}

export interface TrialBackend {
  readonly backend: Backend;
  /** Stores what its issuer made. */
  keep(): Promise<void>;
}

interface Kept {
  readonly fingerprint: string;
  readonly backend: Backend;
}

/**
 * The live issuers of all meshes: made when first needed, kept while neither conf nor used secrets change, retired after. Follows the store's
 * changes, also those of another process.
 */
export class Backends {
  readonly #options: BackendsOptions;
  readonly #factory: BackendFactory;
  readonly #meshes = new Map<string, MeshBackends>();
  /** What was loaded last, and of which version of the Mesh: given again when a change did not concern it. */
  readonly #last = new Map<string, { readonly identity: string; readonly loaded: MeshBackends }>();
  readonly #loading = new Map<string, Promise<MeshBackends>>();
  readonly #kept = new Map<string, Map<string, Kept>>();
  readonly #generation = new Map<string, number>();
  readonly #stopListening: () => void;

  constructor(options: BackendsOptions) {
    this.#options = options;
    this.#factory = new BackendFactory(options);
    this.#stopListening = options.store.onChange((change) => {
      if (change.kind === 'unknown') {
        for (const mesh of new Set([...this.#meshes.keys(), ...this.#loading.keys(), ...this.#kept.keys()]))
          this.#forget(mesh);
      } else if (change.key.type === 'Mesh') this.#follow(change.key.name);
      else if (change.key.type === 'Secret') this.#forget(change.key.mesh);
    });
  }

  /** What is known without waiting: for the hot path. Undefined: ask `get`. */
  peek(mesh: string): MeshBackends | undefined {
    return this.#meshes.get(mesh);
  }

  /** @throws NotFoundError when there is no such mesh; ConfigError when its stored conf cannot be read any more */
  get(mesh: string): Promise<MeshBackends> {
    const known = this.#meshes.get(mesh);
    if (known !== undefined) return Promise.resolve(known);
    let loading = this.#loading.get(mesh);
    if (loading === undefined) {
      loading = this.#load(mesh).finally(() => this.#loading.delete(mesh));
      this.#loading.set(mesh, loading);
    }
    return loading;
  }

  /** Reads the mesh again at the next `get`: somebody has seen that what we know of it is old. */
  refresh(mesh: string): void {
    this.#forget(mesh);
  }

  /** The adapter of a type; undefined when none is installed. */
  module(type: string): Promise<IssuerModule<unknown> | undefined> {
    return this.#factory.module(type);
  }

  /**
   * A backend that is not stored yet, to try it. What its issuer makes (builtin: its CA) stays in memory until `keep`. The caller closes it.
   * @throws ConfigError with all violations of its conf, fields relative to `conf`
   */
  async createTrial(mesh: string, spec: MeshBackend): Promise<TrialBackend> {
    const secrets = createUnstoredSecrets(createSecretAccess(this.#options.store, mesh));
    return { backend: await this.#factory.create(mesh, spec, { secrets: secrets.access }), keep: secrets.keep };
  }

  /** Names of the secrets that a backend uses; empty when its type or conf is unknown (Kuma allows the deletion then, too). */
  async usedSecrets(mesh: string, backend: MeshBackend): Promise<readonly string[]> {
    return (await this.#factory.secretsOf(mesh, backend)).used;
  }

  /** Those of `usedSecrets` that must be there when the Mesh is stored: not those that its issuer makes when it first needs them. */
  async requiredSecrets(mesh: string, backend: MeshBackend): Promise<readonly string[]> {
    const { used, later } = await this.#factory.secretsOf(mesh, backend);
    return used.filter((name) => !later.includes(name));
  }

  async close(): Promise<void> {
    this.#stopListening();
    await Promise.allSettled(this.#loading.values());
    const all = [...this.#kept.values()].flatMap((backends) => [...backends.values()]);
    this.#kept.clear();
    this.#meshes.clear();
    await Promise.all(all.map(({ backend }) => backend.close()));
  }

  /** A mesh that is gone, or lost a backend, must not keep an issuer open until somebody asks again. */
  #follow(mesh: string): void {
    this.#forget(mesh);
    if (!this.#kept.has(mesh)) return;
    this.get(mesh).catch((error: unknown) => {
      if (!(error instanceof NotFoundError)) this.#options.log.warn({ mesh, err: error }, 'changed mesh not read');
    });
  }

  #forget(mesh: string): void {
    this.#meshes.delete(mesh);
    this.#generation.set(mesh, (this.#generation.get(mesh) ?? 0) + 1);
  }

  async #load(name: string): Promise<MeshBackends> {
    // A change that arrives while we read makes what we read old: read again.
    for (;;) {
      const generation = this.#generation.get(name) ?? 0;
      const loaded = await this.#read(name);
      if ((this.#generation.get(name) ?? 0) === generation) {
        this.#meshes.set(name, loaded);
        return loaded;
      }
    }
  }

  async #read(name: string): Promise<MeshBackends> {
    const stored = await this.#options.store.getResource({ type: 'Mesh', mesh: '', name });
    if (stored === undefined) {
      this.#retireAll(name);
      this.#generation.delete(name);
      throw new NotFoundError(`mesh "${name}" not found`, { fix: 'mesh-ca get meshes lists those there are' });
    }
    const mesh = parseMesh(JSON.parse(stored.body), { name });
    const before = this.#kept.get(name) ?? new Map<string, Kept>();
    const after = new Map<string, Kept>();
    for (const spec of mesh.mtls?.backends ?? []) {
      const fingerprint = await this.#fingerprint(name, spec);
      const old = before.get(spec.name);
      if (old?.fingerprint === fingerprint) after.set(spec.name, old);
      else {
        // One backend that cannot be made (its adapter is gone, its conf was made by an older version) must not take the mesh down.
        try {
          const metrics = this.#options.metrics.backend({ mesh: name, backend: spec.name, type: spec.type });
          const secrets = createSecretAccess(this.#options.store, name);
          const backend = await this.#factory.create(name, spec, { secrets, metrics });
          after.set(spec.name, { fingerprint, backend });
        } catch (error) {
          if (!(error instanceof ConfigError)) throw error;
          this.#options.log.error(
            { mesh: name, backend: spec.name, type: spec.type, violations: error.violations },
            'backend unusable',
          );
        }
      }
    }
    for (const [backendName, { backend }] of before) {
      const kept = after.get(backendName)?.backend;
      if (kept !== backend) backend.retire();
      if (kept?.type !== backend.type) this.#options.metrics.removeBackend(labelsOf(backend));
    }
    this.#kept.set(name, after);
    const previous = this.#last.get(name);
    const identity = `${stored.version}/${stored.createdAt.getTime()}`;
    const same =
      before.size === after.size && [...after].every(([key, { backend }]) => before.get(key)?.backend === backend);
    if (previous?.identity === identity && same) return previous.loaded;
    const backends = new Map([...after].map(([backendName, { backend }]) => [backendName, backend]));
    const loaded = {
      mesh,
      createdAt: stored.createdAt,
      backends,
      enabled: backends.get(mesh.mtls?.enabledBackend ?? ''),
    };
    this.#last.set(name, { identity, loaded });
    return loaded;
  }

  #retireAll(mesh: string): void {
    for (const { backend } of this.#kept.get(mesh)?.values() ?? []) {
      backend.retire();
      this.#options.metrics.removeBackend(labelsOf(backend));
    }
    this.#kept.delete(mesh);
    this.#last.delete(mesh);
  }

  /** Everything an instance depends on: the spec as written and the versions of the secrets that it reads once. */
  async #fingerprint(mesh: string, spec: MeshBackend): Promise<string> {
    const versions: string[] = [];
    const { used, followed } = await this.#factory.secretsOf(mesh, spec);
    for (const name of used.filter((name) => !followed.includes(name))) {
      const secret = await this.#options.store.getResource({ type: 'Secret', mesh, name });
      versions.push(`${name}@${secret?.version ?? 0}/${secret?.createdAt.getTime() ?? 0}`);
    }
    return canonicalJson([spec, versions]);
  }
}

function labelsOf({ mesh, name, type }: Backend): BackendLabels {
  return { mesh, backend: name, type };
}
