import type { Backends } from '../backends/backends.ts';
import { type CallOptions, isRenewer } from '../issuer/issuer.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import type { Store } from '../store/store.ts';
import { type Certificate, parseCertificate } from '../x509/certificate.ts';
import { askRenewer } from './generation-scene.ts';
import { isUnderWay } from './rotation-record.ts';
import type { RotationRequest } from './rotation-request.ts';
import { readStoredRotation } from './stored-rotation.ts';

export interface RootRenewalOptions {
  readonly store: Pick<Store, 'listResources' | 'getResource'>;
  readonly backends: Pick<Backends, 'get'>;
  readonly clock: Pick<Clock, 'now' | 'sleep'>;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly rotations: { put(mesh: string, request: RotationRequest, options: CallOptions): Promise<unknown> };
}

const LOOK_EVERY_MS = 3_600_000;
/** Share of the life of a root that is left when it is renewed (as Istio does with its self-signed root). */
const LAST_SHARE = 0.2;

/** Looks each hour whether the root of an enabled builtin backend is near its end, and starts the rotation to its successor. */
export class RootRenewal {
  readonly #options: RootRenewalOptions;
  #loop: Promise<void> | undefined;

  constructor(options: RootRenewalOptions) {
    this.#options = options;
  }

  start(): void {
    this.#loop ??= this.#run();
  }

  /** To be called after the signal has fired. */
  async close(): Promise<void> {
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { clock, log, signal } = this.#options;
    while (!signal.aborted) {
      try {
        await this.#lookAtAll();
      } catch (error) {
        if (!signal.aborted) log.warn({ err: error }, 'roots of builtin CAs not looked at: tried again later');
      }
      await clock.sleep(LOOK_EVERY_MS, signal).catch(() => {});
    }
  }

  async #lookAtAll(): Promise<void> {
    const { store, log, signal } = this.#options;
    const { items } = await store.listResources({ type: 'Mesh' });
    for (const { name } of items) {
      if (signal.aborted) return;
      try {
        await this.#look(name);
      } catch (error) {
        if (!signal.aborted) log.warn({ mesh: name, err: error }, 'root of builtin CA not renewed: tried again later');
      }
    }
  }

  async #look(mesh: string): Promise<void> {
    const { store, backends, clock, log, signal, rotations } = this.#options;
    const { enabled } = await backends.get(mesh);
    if (enabled?.has(isRenewer) !== true) return;
    const { signing } = await askRenewer(enabled, (ca, call) => ca.generations(call), { signal });
    const root = parseCertificate(signing);
    if (!isNearItsEnd(root, clock.now())) return;
    if (isUnderWay((await readStoredRotation(store, mesh)).record)) return;
    log.info(
      { mesh, backend: enabled.name, notAfter: root.notAfter },
      'root of builtin CA is near its end: its successor is made',
    );
    await rotations.put(mesh, { to: enabled.name }, { signal });
  }
}

/** In the last 20 % of its life, or after it. */
export function isNearItsEnd({ notBefore, notAfter }: Pick<Certificate, 'notBefore' | 'notAfter'>, now: Date): boolean {
  const lifeMs = notAfter.getTime() - notBefore.getTime();
  return notAfter.getTime() - now.getTime() <= lifeMs * LAST_SHARE;
}
