import { NotFoundError } from '../issuer/errors.ts';
import type { Clock } from '../runtime/clock.ts';
import { createListeners } from '../runtime/listeners.ts';
import type { Log } from '../runtime/log.ts';
import { setNewest } from '../runtime/set-newest.ts';
import type { Store } from '../store/store.ts';

/** What a data plane would not take, in its own words. */
export interface Refusal {
  readonly what: 'trust bundle' | 'certificate';
  /** Version of the bundle, or serial number of the certificate. */
  readonly version: string;
  /** Sanitised: one line, capped. */
  readonly message: string;
  readonly at: Date;
}

export interface Holders {
  /**
   * The data plane itself says that it trusts this version: If-None-Match over HTTP, or its ACK over SDS. Having been sent a bundle is no proof.
   * Forgets an older refusal of a bundle. A mesh that is gone is no error.
   */
  accepted(mesh: string, dataplane: string, version: number): Promise<void>;
  /** It was sent something and would not take it (SDS NACK). Stands until it accepts the same kind of thing. */
  refused(mesh: string, dataplane: string, refusal: Omit<Refusal, 'at'>): void;
  refusal(mesh: string, dataplane: string): Refusal | undefined;
  /** A certificate is on its way to it over SDS: until `uses` nobody knows whether it still presents the one before. */
  sent(mesh: string, dataplane: string, serialNumber: string): void;
  /** It says that it uses this certificate: `current` over HTTP, or its ACK over SDS. */
  uses(mesh: string, dataplane: string, serialNumber: string): void;
  /**
   * `pending`: it may well use another one until it acknowledges this one over SDS. `unknown`: it said nothing to this instance, or asks over HTTP,
   * where nobody acknowledges.
   */
  useOf(mesh: string, dataplane: string, serialNumber: string): 'pending' | 'confirmed' | 'unknown';
  /** When it last said that it uses another one than this. Undefined: it did not. */
  usesOther(mesh: string, dataplane: string, serialNumber: string): Date | undefined;
  /** It is gone: one of the same name starts anew. */
  forget(mesh: string, dataplane: string): void;
  /** Called with the mesh after anything above. Returns what ends it; idempotent. */
  onChange(listener: (mesh: string) => void): () => void;
}

export interface HoldersOptions {
  readonly store: Pick<Store, 'recordTrustStatement'>;
  readonly clock: Pick<Clock, 'now'>;
  readonly log: Log;
  /** Data planes of one mesh that are remembered. */
  readonly most?: number;
}

/** Data planes of one mesh about which something is remembered; the one changed longest ago goes first. */
const MOST = 200_000;

interface Use {
  readonly serialNumber: string;
  readonly state: 'pending' | 'confirmed';
  /** It has been sent a certificate over SDS, so it says of each whether it uses it. */
  readonly acknowledges: boolean;
  readonly at: Date;
}

interface Said {
  refusal: Refusal | undefined;
  use: Use | undefined;
}

/** Statements about bundles are stored; refusals and the use of certificates are in memory only: after a restart SDS clients tell them again. */
export function createHolders({ store, clock, log, most = MOST }: HoldersOptions): Holders {
  // Two maps, because a rotation looks up every data plane of a mesh each second: a key made of both names would cost more than the look.
  const meshes = new Map<string, Map<string, Said>>();
  const saidBy = (mesh: string, dataplane: string) => meshes.get(mesh)?.get(dataplane);
  const listeners = createListeners<string>((error, mesh) =>
    log.error({ mesh, err: error }, 'a listener for what data planes hold failed'),
  );
  const remove = (mesh: string, dataplane: string) => {
    const said = meshes.get(mesh);
    if (said?.delete(dataplane) === true && said.size === 0) meshes.delete(mesh);
  };
  const change = (mesh: string, dataplane: string, changed: Partial<Said>) => {
    const before = saidBy(mesh, dataplane) ?? { refusal: undefined, use: undefined };
    const after = { ...before, ...changed };
    if (after.refusal === undefined && after.use === undefined) remove(mesh, dataplane);
    else {
      const said = meshes.get(mesh) ?? new Map<string, Said>();
      meshes.set(mesh, said);
      setNewest(said, dataplane, after, most);
    }
    listeners.tell(mesh);
  };
  const acceptedKind = (mesh: string, dataplane: string, what: Refusal['what']): Partial<Said> =>
    saidBy(mesh, dataplane)?.refusal?.what === what ? { refusal: undefined } : {};
  return {
    async accepted(mesh, dataplane, version) {
      try {
        await store.recordTrustStatement({ mesh, dataplane, bundleVersion: version, statedAt: clock.now() });
      } catch (error) {
        if (!(error instanceof NotFoundError)) throw error;
        return;
      }
      change(mesh, dataplane, acceptedKind(mesh, dataplane, 'trust bundle'));
    },
    refused(mesh, dataplane, refusal) {
      change(mesh, dataplane, { refusal: { ...refusal, at: clock.now() } });
    },
    refusal: (mesh, dataplane) => saidBy(mesh, dataplane)?.refusal,
    sent(mesh, dataplane, serialNumber) {
      change(mesh, dataplane, { use: { serialNumber, state: 'pending', acknowledges: true, at: clock.now() } });
    },
    uses(mesh, dataplane, serialNumber) {
      const acknowledges = saidBy(mesh, dataplane)?.use?.acknowledges ?? false;
      const use = { serialNumber, state: 'confirmed', acknowledges, at: clock.now() } as const;
      change(mesh, dataplane, { ...acceptedKind(mesh, dataplane, 'certificate'), use });
    },
    useOf(mesh, dataplane, serialNumber) {
      const use = saidBy(mesh, dataplane)?.use;
      if (use === undefined) return 'unknown';
      if (use.serialNumber === serialNumber) return use.state;
      return use.acknowledges ? 'pending' : 'unknown';
    },
    usesOther(mesh, dataplane, serialNumber) {
      const use = saidBy(mesh, dataplane)?.use;
      return use?.state === 'confirmed' && use.serialNumber !== serialNumber ? use.at : undefined;
    },
    forget(mesh, dataplane) {
      remove(mesh, dataplane);
      listeners.tell(mesh);
    },
    onChange: (listener) => listeners.add(listener),
  };
}
