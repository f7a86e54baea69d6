import { hash } from 'node:crypto';
import { ConfigError } from '../issuer/errors.ts';
import type {
  Concurrency,
  IssuerDeps,
  IssuerModule,
  IssuerSettings,
  SecretAccess,
  SharedResources,
} from '../issuer/issuer.ts';
import { dpCertRequestTimeoutMs, expirationMs, type MeshBackend, rootChainRequestTimeoutMs } from '../mesh/mtls.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import type { BackendMetrics } from '../runtime/metrics.ts';
import type { Random } from '../runtime/random.ts';
import { Backend } from './backend.ts';
import { canonicalJson } from './canonical-json.ts';
import { countRequest } from './count-requests.ts';
import { createDataSourceLoader } from './load-data-source.ts';

/** Type -> how to get its adapter module. The list is `adapters/index.ts`. */
export type AdapterList = Readonly<Record<string, () => Promise<IssuerModule<unknown>>>>;

export interface BackendFactoryOptions {
  readonly adapters: AdapterList;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly fileDirs: readonly string[];
  readonly shared: SharedResources;
  readonly issuerSettings: IssuerSettings;
  readonly defaults: { readonly expirationMs: number; readonly issueTimeoutMs: number };
}

/** `used`: all that it reads or owns. `followed`: whose changes its issuer follows by itself. `later`: that its issuer makes when it first needs them. */
export type BackendSecrets = Readonly<Record<'used' | 'followed' | 'later', readonly string[]>>;

/** Unless the adapter says otherwise. */
const CONCURRENCY: Concurrency = { start: 16, max: 256, targetDelayMs: 50 };

/** Makes a backend of the conf in a Mesh, by the adapter of its type. */
export class BackendFactory {
  readonly #options: BackendFactoryOptions;

  constructor(options: BackendFactoryOptions) {
    this.#options = options;
  }

  /** The adapter of a type; undefined when none is installed. */
  async module(type: string): Promise<IssuerModule<unknown> | undefined> {
    return Object.hasOwn(this.#options.adapters, type) ? this.#options.adapters[type]?.() : undefined;
  }

  /**
   * Makes a backend of its conf; asks nobody. Without `metrics` it is only tried, and leaves no series behind.
   * @throws ConfigError with all violations of its conf, fields relative to `conf`; or because there is no adapter for it
   */
  async create(
    mesh: string,
    backend: MeshBackend,
    { secrets, metrics }: { readonly secrets: SecretAccess; readonly metrics?: BackendMetrics },
  ): Promise<Backend> {
    const module = await this.module(backend.type);
    if (module === undefined) {
      throw new ConfigError(`backend "${backend.name}" of mesh "${mesh}" has type "${backend.type}"`, {
        violations: [{ field: 'type', message: 'could not find installed plugin for this type' }],
        fix: `use one of the types ${Object.keys(this.#options.adapters).join(', ')}`,
      });
    }
    const { clock, random, log, defaults, fileDirs, shared, issuerSettings } = this.#options;
    const context = { mesh, backend: backend.name };
    const conf = module.parseConf(backend.conf, context);
    const deps: IssuerDeps = {
      secrets,
      shared,
      settings: issuerSettings,
      load: createDataSourceLoader({ mesh, secrets, fileDirs }),
      onRequest: () => countRequest(metrics),
      clock,
      random,
      log: log.child({
        ...{ mesh, backend: backend.name, type: backend.type },
        ...(metrics === undefined ? { trial: true } : {}),
      }),
    };
    return new Backend({
      mesh,
      name: backend.name,
      type: backend.type,
      local: module.local,
      // One that names no endpoint has its own.
      endpoint: `${module.type}:${module.endpoint?.(conf) ?? `${mesh}/${backend.name}`}`,
      concurrency: module.concurrency ?? CONCURRENCY,
      checks: module.checks,
      billed: module.billed === true,
      hash: confHash(backend),
      ttlSeconds: Math.max(1, Math.floor((expirationMs(backend) ?? defaults.expirationMs) / 1000)),
      limits: {
        issueTimeoutMs: dpCertRequestTimeoutMs(backend) ?? defaults.issueTimeoutMs,
        rootTimeoutMs: rootChainRequestTimeoutMs(backend),
      },
      issuer: module.create(context, conf, deps),
      clock,
      ...(metrics === undefined ? {} : { metrics }),
      log,
    });
  }

  /** Names of the secrets of a backend; none when its type or conf is unknown. */
  async secretsOf(mesh: string, backend: MeshBackend): Promise<BackendSecrets> {
    const none = { used: [], followed: [], later: [] };
    const module = await this.module(backend.type);
    if (module === undefined) return none;
    const context = { mesh, backend: backend.name };
    try {
      const conf = module.parseConf(backend.conf, context);
      return {
        used: module.usedSecrets(conf, context),
        followed: module.followedSecrets?.(conf, context) ?? [],
        later: module.laterSecrets?.(conf, context) ?? [],
      };
    } catch (error) {
      if (error instanceof ConfigError) return none;
      throw error;
    }
  }
}

/** Adding a backend or changing `mode` or time-outs must not re-issue certificates; type, conf and lifetime must. */
function confHash(backend: MeshBackend): string {
  return hash(
    'sha256',
    canonicalJson([backend.name, backend.type, backend.conf ?? null, expirationMs(backend) ?? null]),
  );
}
