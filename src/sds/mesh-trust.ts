import type { TrustBundle } from '../trust/trust-bundle.ts';
import { type Any, trustSecret } from './protocol.ts';
import { trustVersion } from './versions.ts';

/** One version of a mesh's bundle, as it goes over the wire. */
export interface Trust {
  readonly bundle: TrustBundle;
  readonly version: string;
  /** Shared by all streams of the mesh. */
  readonly secret: Any;
}

/** The newest bundle of a mesh that is known here, made ready to be sent once for all. */
export class MeshTrust {
  readonly #name: string;
  #current: Trust | undefined;
  #hasLost = false;

  /** @param name of the secret */
  constructor(name: string) {
    this.#name = name;
  }

  /** Undefined: not known yet, or without any root, which no proxy would take. */
  get current(): Trust | undefined {
    return this.#current;
  }

  /** True when it is news. An older version is none. */
  note(bundle: TrustBundle): boolean {
    const isOld = this.#current !== undefined && bundle.version <= this.#current.bundle.version;
    if (isOld || bundle.roots.length === 0 || bundle.version === 0) return false;
    for (const root of this.#current?.bundle.fingerprints ?? []) this.#hasLost ||= !bundle.fingerprints.has(root);
    const version = trustVersion(bundle.version, bundle.pem);
    this.#current = { bundle, version, secret: trustSecret(this.#name, bundle.pem) };
    return true;
  }

  /** Whether a root has gone since this was asked last. */
  takeLoss(): boolean {
    const hasLost = this.#hasLost;
    this.#hasLost = false;
    return hasLost;
  }
}
