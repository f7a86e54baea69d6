import { NotFoundError } from '../issuer/errors.ts';
import type { Log } from '../runtime/log.ts';
import type { ResourceKey, Store } from '../store/store.ts';
import type { Proof } from './proof.ts';
import { readProofBody, writeProofBody } from './proof-body.ts';

const TYPE = 'BackendProof';

export interface ProofRowsOptions {
  readonly store: Pick<Store, 'listResources' | 'putResource' | 'deleteResource'>;
  readonly log: Log;
}

/**
 * The last proof of each backend in the store, so that a restart proves nothing anew. A row belongs to its mesh and goes with it. What cannot be
 * written is only logged: the next proof is written again.
 */
export class ProofRows {
  readonly #options: ProofRowsOptions;
  /** The last write of each key: writes of one key keep their order. */
  readonly #writes = new Map<string, Promise<void>>();

  constructor(options: ProofRowsOptions) {
    this.#options = options;
  }

  /** What there is; rows that cannot be read are passed over. @throws StoreUnavailableError */
  async readAll(): Promise<readonly Proof[]> {
    const { items } = await this.#options.store.listResources({ type: TYPE });
    const proofs = items.map(readProofBody).filter((proof) => proof !== undefined);
    const unread = items.length - proofs.length;
    if (unread > 0) this.#options.log.warn({ unread }, 'stored proofs of backends cannot be read: they are made anew');
    return proofs;
  }

  /** @param onGone called when the mesh is gone, and its rows with it */
  write(proof: Proof, onGone: () => void): void {
    const { mesh, backend: name } = proof;
    const key = { type: TYPE, mesh, name };
    this.#after(key, async () => {
      const requires = [{ type: 'Mesh', mesh: '', name: mesh }];
      try {
        await this.#options.store.putResource({ ...key, body: writeProofBody(proof), owned: true }, { requires });
      } catch (error) {
        if (!(error instanceof NotFoundError)) throw error;
        onGone();
      }
    });
  }

  /** For a backend that its mesh no longer has. */
  remove(mesh: string, backend: string): void {
    const key = { type: TYPE, mesh, name: backend };
    this.#after(key, () => this.#options.store.deleteResource(key));
  }

  /** Resolves when nothing is being written. */
  async settled(): Promise<void> {
    while (this.#writes.size > 0) await Promise.all(this.#writes.values());
  }

  #after(key: ResourceKey, work: () => Promise<unknown>): void {
    const id = `${key.mesh}/${key.name}`;
    const writing = (this.#writes.get(id) ?? Promise.resolve())
      .then(work)
      .catch((error: unknown) => {
        this.#options.log.warn({ mesh: key.mesh, backend: key.name, err: error }, 'proof of a backend not stored');
      })
      .then(() => {
        if (this.#writes.get(id) === writing) this.#writes.delete(id);
      });
    this.#writes.set(id, writing);
  }
}
