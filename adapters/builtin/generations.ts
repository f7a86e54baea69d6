import { z } from 'zod';
import { ConfigError } from '../../src/issuer/errors.ts';
import type { CallOptions, IssuerContext, SecretAccess } from '../../src/issuer/issuer.ts';
import { orAborted } from '../../src/runtime/or-aborted.ts';
import type { Certificate } from '../../src/x509/certificate.ts';
import type { CaKeyPair } from '../shared/in-process-ca.ts';
import { type CaPems, caSecretNames, readCaPems } from './ca-secrets.ts';
import { readKeyPair, writeKeyPair } from './key-pair.ts';

/** One CA in the line of those that a backend has had. */
export interface Generation {
  /** From 1; none is used twice. */
  readonly number: number;
  readonly ca: CaKeyPair;
}

/** All that are trusted, oldest first, and the one of them that signs. */
export interface Generations {
  readonly signing: Generation;
  readonly all: readonly Generation[];
}

/** What stands in the secrets; whether certificates and keys belong together is not looked at. */
export interface StoredGenerations {
  readonly signing: number;
  /** Oldest first, never empty. */
  readonly all: readonly { readonly number: number; readonly pems: CaPems }[];
  /** The secret as it was read. Undefined: there is none, and generation 1 stands in Kuma's two. */
  readonly secret: Buffer | undefined;
}

/** More are never trusted at once. The secret stays below the 1 MiB of any secret. */
export const MOST_GENERATIONS = 8;
const MAX_CERT_CHARS = 96 * 1024;
const MAX_KEY_CHARS = 32 * 1024;

const number = z.number().int().min(1).max(Number.MAX_SAFE_INTEGER);
const schema = z
  .strictObject({
    signing: number,
    generations: z
      .array(z.strictObject({ number, cert: z.string().max(MAX_CERT_CHARS), key: z.string().max(MAX_KEY_CHARS) }))
      .max(MOST_GENERATIONS),
  })
  .refine(({ generations }) => generations.every((one, i) => one.number > (generations[i - 1]?.number ?? 0)))
  .refine(({ signing, generations }) => generations.some((one) => one.number === signing));

/**
 * Undefined: there is no CA yet.
 * @throws ConfigError when a half of the first generation is missing, or when what says which generation signs cannot be read: then none does, since
 *   the wrong one breaks connections
 */
export async function readStoredGenerations(
  secrets: SecretAccess,
  context: IssuerContext,
  call: CallOptions,
): Promise<StoredGenerations | undefined> {
  const read = () => orAborted(secrets.read(caSecretNames(context).generations), call.signal);
  const secret = await read();
  if (secret !== undefined) return parseSecret(secret, context);
  const pems = await readCaPems(secrets, context, call);
  // Kuma's two are only replaced while ours is there: what was read of them is of one piece if it still is not.
  const since = await read();
  if (since !== undefined) return parseSecret(since, context);
  return pems && { signing: 1, all: [{ number: 1, pems }], secret: undefined };
}

function parseSecret(secret: Buffer, context: IssuerContext): StoredGenerations {
  const read = schema.safeParse(parseJson(secret));
  // What is wrong is not told: it stands beside keys.
  if (!read.success) {
    const { generations, cert, key } = caSecretNames(context);
    throw new ConfigError(
      `secret "${generations}" of mesh "${context.mesh}" does not tell the generations of the CA and which of them signs`,
      {
        fix: `restore the secrets "${generations}", "${cert}" and "${key}" from the same backup, or add a backend of another name and rotate to it`,
      },
    );
  }
  const all = read.data.generations.map(({ number, cert, key }) => ({ number, pems: { cert, key } }));
  return { signing: read.data.signing, all, secret };
}

function parseJson(secret: Buffer): unknown {
  try {
    return JSON.parse(secret.toString('utf8'));
  } catch {
    return undefined;
  }
}

/** @throws ConfigError when certificate and key of one are no pair */
export function loadGenerations(stored: StoredGenerations, context: IssuerContext): Generations {
  const names = caSecretNames(context);
  const all = stored.all.map(({ number, pems }): Generation => {
    const where =
      stored.secret === undefined
        ? `secrets "${names.cert}" and "${names.key}"`
        : `certificate and key of generation ${number} in secret "${names.generations}"`;
    return { number, ca: readKeyPair(pems, where) };
  });
  const signing = all.find(({ number }) => number === stored.signing);
  if (signing === undefined) throw new TypeError(`generation ${stored.signing} is not among those that are trusted`);
  return { signing, all };
}

/** What `readStoredGenerations` reads. */
export function writeGenerations({ signing, all }: Generations): Buffer {
  const generations = all.map(({ number, ca }) => ({ number, ...writeKeyPair(ca) }));
  return Buffer.from(JSON.stringify({ signing: signing.number, generations }));
}

/** Those that are trusted without signing, oldest first. */
export function othersOf({ signing, all }: Generations): readonly Generation[] {
  return all.filter(({ number }) => number !== signing.number);
}

export function rootOf({ ca }: Generation): Certificate {
  return ca.path[0];
}
