import {
  BackendInvalidError,
  ConfigError,
  ConflictError,
  NotFoundError,
  RequestInvalidError,
  RotationNotReadyError,
} from '../issuer/errors.ts';
import type { CallOptions } from '../issuer/issuer.ts';
import { checkAgainstUrl, type Kind } from '../mesh/kinds.ts';
import { checkExistingName, checkName } from '../mesh/names.ts';
import { isJsonObject } from '../mesh/violations.ts';
import type { ResourceKey, ResourcePage, Store, StoredResource } from '../store/store.ts';
import type { Checked, KindRules } from './kind-rules.ts';
import { NOT_FOUND, NOT_VALID, ResourceError, type TITLES } from './resource-error.ts';
import { matchesTags } from './tag-filter.ts';

/** How often it is decided anew when somebody changed what the rules had looked at. */
const TRIES = 5;

/** What GET of a list may ask for (Kuma: `size`, `offset`, `name`, `tag`). */
export interface ListFilter {
  readonly mesh?: string;
  readonly name?: string;
  /** `key:value`; all have to match. Data planes only. */
  readonly tags?: readonly string[];
  readonly offset: number;
  readonly size: number;
}

export interface PutOptions extends CallOptions {
  /** Every check is made, and nothing stored. */
  readonly dryRun?: boolean;
  /** With a Mesh: a backend may go although data planes that are offline hold unexpired certificates of it. */
  readonly force?: boolean;
}

export interface PutResult {
  readonly created: boolean;
  readonly warnings: readonly string[];
}

/** Reads and changes resources in Kuma's order of checks, with Kuma's words. */
export class Resources {
  readonly #store: Store;
  readonly #rules: Readonly<Record<string, KindRules>>;

  constructor(store: Store, rules: Readonly<Record<string, KindRules>>) {
    this.#store = store;
    this.#rules = rules;
  }

  /** @throws ResourceError 404: the mesh, or the resource */
  async get(kind: Kind, mesh: string, name: string): Promise<StoredResource> {
    const stored = await this.#store.getResource(keyOf(kind, mesh, name));
    if (stored !== undefined) return stored;
    if (kind.scope === 'Mesh') await this.requireMesh(mesh);
    throw notFound('get', kind, name);
  }

  /** @throws ResourceError 404 when the mesh of the path is not there */
  async list(kind: Kind, filter: ListFilter): Promise<ResourcePage> {
    if (filter.mesh !== undefined && kind.scope === 'Mesh') await this.requireMesh(filter.mesh);
    const { tags = [], offset, size } = filter;
    const query = {
      type: kind.type,
      ...(filter.mesh === undefined ? {} : { mesh: filter.mesh }),
      ...(filter.name === undefined ? {} : { nameContains: filter.name }),
    };
    if (tags.length === 0) return this.#store.listResources({ ...query, offset, size });
    const { items } = await this.#store.listResources(query);
    const matching = items.filter((item) => matchesTags(item, tags));
    return { items: matching.slice(offset, offset + size), total: matching.length };
  }

  /**
   * Creates or replaces. Nothing is stored unless every check has passed, and nothing at all with `dryRun`.
   * @throws ResourceError with all violations of the first step that has some
   */
  async put(kind: Kind, mesh: string, name: string, body: unknown, options: PutOptions): Promise<PutResult> {
    if (kind.scope === 'Mesh') await this.requireMesh(mesh);
    const key = keyOf(kind, mesh, name);
    const resource = framed('parse', () => {
      if (!isJsonObject(body)) throw new RequestInvalidError('the body is not a JSON object');
      return kind.parse(body, { mesh, name });
    });
    const before = await this.#store.getResource(key);
    const step = before === undefined ? 'create' : 'update';
    framed('parse', () => {
      const violations = [
        ...checkAgainstUrl(body, key),
        ...(before === undefined ? checkName(name) : checkExistingName(name)),
        ...(kind.scope === 'Mesh' ? checkExistingName(mesh, 'mesh') : []),
      ];
      if (violations.length > 0) throw new ConfigError(NOT_VALID, { violations });
    });
    const rules = this.#rules[kind.type];
    const warnings = await framedAsync(step, async () => {
      const state = { dryRun: options.dryRun === true, force: options.force === true };
      for (let attempt = 1; ; attempt += 1) {
        const checked = (await rules?.beforePut?.(resource, state, options)) ?? { resource, warnings: [] };
        if (state.dryRun) return checked.warnings;
        try {
          await this.#keep(checked, kind, key);
          checked.stored?.();
          return checked.warnings;
        } catch (error) {
          if (!(error instanceof ConflictError) || attempt === TRIES) throw error;
        }
      }
    });
    return { created: before === undefined, warnings };
  }

  /** @throws ResourceError 404, or 400 when it is still in use */
  async delete(kind: Kind, mesh: string, name: string, options: CallOptions): Promise<void> {
    const key = keyOf(kind, mesh, name);
    // Not the mesh first: a secret that a user put outlives its mesh, as in Kuma, and must be removable.
    if ((await this.#store.getResource(key)) === undefined) {
      if (kind.scope === 'Mesh') await this.requireMesh(mesh);
      throw notFound('delete', kind, name);
    }
    const rules = this.#rules[kind.type];
    await framedAsync('delete', async () => {
      for (let attempt = 1; ; attempt += 1) {
        const { unchanged = [] } = (await rules?.beforeDelete?.({ mesh, name }, options)) ?? {};
        try {
          if (kind.type === 'Mesh') await this.#store.deleteMesh(name, { unlessAny: 'Dataplane' });
          else await this.#store.deleteResource(key, { unchanged });
          break;
        } catch (error) {
          if (!(error instanceof ConflictError) || attempt === TRIES) throw error;
        }
      }
      await rules?.afterDelete?.({ mesh, name }, options);
    });
  }

  /** Stores what was checked, if what the checks relied on is still there. */
  async #keep({ resource, requires = [], expectedVersion }: Checked, kind: Kind, key: ResourceKey): Promise<void> {
    const meshKey = kind.scope === 'Mesh' ? [{ type: 'Mesh', mesh: '', name: key.mesh }] : [];
    try {
      await this.#store.putResource(
        { ...key, body: JSON.stringify(kind.toJson(resource)) },
        { requires: [...meshKey, ...requires], ...(expectedVersion === undefined ? {} : { expectedVersion }) },
      );
    } catch (error) {
      if (!(error instanceof NotFoundError)) throw error;
      if (kind.scope === 'Mesh') throw new ResourceError('mesh', NOT_FOUND, error);
      throw new ConflictError(`${error.message} any more: it was deleted at the same time`, {
        cause: error,
        fix: 'apply it again',
      });
    }
  }

  /** @throws ResourceError 404 with Kuma's title when there is no such mesh */
  async requireMesh(mesh: string): Promise<void> {
    if ((await this.#store.getResource({ type: 'Mesh', mesh: '', name: mesh })) !== undefined) return;
    throw new ResourceError(
      'mesh',
      NOT_FOUND,
      new NotFoundError(`mesh "${mesh}" not found`, { fix: `apply the mesh first: type: Mesh, name: ${mesh}` }),
    );
  }
}

function keyOf(kind: Kind, mesh: string, name: string): ResourceKey {
  return { type: kind.type, mesh: kind.scope === 'Mesh' ? mesh : '', name };
}

function notFound(step: 'get' | 'delete', kind: Kind, name: string): ResourceError {
  const error = new NotFoundError(`there is no ${kind.type} "${name}"`, {
    fix: `mesh-ca get ${kind.path} lists those there are`,
  });
  return new ResourceError(step, NOT_FOUND, error);
}

/** Puts Kuma's title around an error of ours; what has violations gets Kuma's detail, too. */
function toResourceError(step: keyof typeof TITLES, error: unknown): unknown {
  if (
    error instanceof ConfigError ||
    error instanceof BackendInvalidError ||
    error instanceof RequestInvalidError ||
    error instanceof RotationNotReadyError
  ) {
    return new ResourceError(step, error.violations.length > 0 ? NOT_VALID : undefined, error);
  }
  return error;
}

function framed<T>(step: keyof typeof TITLES, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw toResourceError(step, error);
  }
}

async function framedAsync<T>(step: keyof typeof TITLES, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw toResourceError(step, error);
  }
}
