import { ConfigError } from '../../src/issuer/errors.ts';
import type { CallOptions, IssuerContext, SecretAccess } from '../../src/issuer/issuer.ts';
import { orAborted } from '../../src/runtime/or-aborted.ts';

/** Both halves as Kuma stores them: PEM text. */
export interface CaPems {
  readonly cert: string;
  readonly key: string;
}

export interface CaSecretNames {
  readonly cert: string;
  readonly key: string;
  /** Ours: which generation signs and which are trusted. Not there: what stands in the other two, alone. */
  readonly generations: string;
}

/**
 * Kuma's names for the first two. The mesh is part of them because on Kubernetes all meshes share one namespace. The third is as long as the first,
 * so that Kuma's rules for that hold for it, and no backend's name makes one of another backend.
 */
export function caSecretNames({ mesh, backend }: IssuerContext): CaSecretNames {
  const name = (part: string) => `${mesh}.ca-builtin-${part}-${backend}`;
  return { cert: name('cert'), key: name('key'), generations: name('gens') };
}

/**
 * Reads both halves. Undefined: there is no CA yet.
 * @throws ConfigError when one half is missing: nothing is made up for it, since a pair that does not match breaks every proxy
 */
export async function readCaPems(
  secrets: SecretAccess,
  context: IssuerContext,
  { signal }: CallOptions,
): Promise<CaPems | undefined> {
  const names = caSecretNames(context);
  const read = async (name: string) => (await orAborted(secrets.read(name), signal))?.toString('utf8');
  let [cert, key] = await Promise.all([read(names.cert), read(names.key)]);
  if ((cert === undefined) !== (key === undefined)) {
    // They are stored together: another instance may have done so between our two reads.
    [cert, key] = await Promise.all([read(names.cert), read(names.key)]);
  }
  if (cert !== undefined && key !== undefined) return { cert, key };
  if (cert === undefined && key === undefined) return undefined;
  const [missing, present] = cert === undefined ? [names.cert, names.key] : [names.key, names.cert];
  throw new ConfigError(`${notFound(missing, context)} while "${present}" exists`, {
    fix: `restore the secret "${missing}" from a backup; or, to start with a new CA, add a backend of another name and rotate to it; or, when no proxy uses this CA, remove "${present}" too and store the mesh again`,
  });
}

/** Kuma's words for a CA that was not made yet. */
export function caNotMade(context: IssuerContext): ConfigError {
  return new ConfigError(notFound(caSecretNames(context).cert, context), {
    fix: `store the mesh "${context.mesh}": its builtin CAs are made then`,
  });
}

function notFound(name: string, { mesh }: IssuerContext): string {
  return `resource not found: type="Secret" name="${name}" mesh="${mesh}"`;
}
