import { z } from 'zod';
import type { Violation } from '../issuer/errors.ts';
import {
  formatProtobufDuration,
  parseDuration,
  protobufDurationMs,
  protobufDurationOf,
  readProtobufDuration,
} from './duration.ts';
import { flag, optional, text, unlessEmpty, verbatim, withoutUndefined } from './shape.ts';

export type MtlsMode = 'STRICT' | 'PERMISSIVE';

export interface Mtls {
  /** '': mTLS is off. */
  readonly enabledBackend: string;
  /** The backend's own validation, and the checks of a rotation, are skipped. */
  readonly skipValidation: boolean;
  readonly backends: readonly MeshBackend[];
}

export interface MeshBackend {
  readonly name: string;
  /** Any text: whether there is such a type is not this room's to say. */
  readonly type: string;
  readonly mode: MtlsMode;
  readonly dpCert: DpCert | undefined;
  readonly rootChain: RootChain | undefined;
  /** As written; its adapter parses it. Undefined when it is not there. */
  readonly conf?: unknown;
}

export interface DpCert {
  /** `expiration` as written, in Kuma's grammar. */
  readonly rotation: { readonly expiration: string; readonly expirationMs: number };
  /** Limit on getting one data plane certificate; undefined: none. */
  readonly requestTimeoutMs: number | undefined;
}

export interface RootChain {
  /** Limit on getting the CA certificates; undefined: Kuma's 10 s. */
  readonly requestTimeoutMs: number | undefined;
}

const MAX_BACKENDS = 64;
const MAX_NAME = 253;
const MODES = ['STRICT', 'PERMISSIVE'] as const;

const mode = z
  .union(
    [
      z.enum(MODES),
      z.literal(0).transform(() => 'STRICT' as const),
      z.literal(1).transform(() => 'PERMISSIVE' as const),
    ],
    {
      error: `has to be one of ${MODES.join(', ')}`,
    },
  )
  .nullish()
  .transform((value): MtlsMode => value ?? 'STRICT');

const requestTimeout = z
  .unknown()
  .optional()
  .transform((value, context) => {
    if (value === undefined || value === null) return undefined;
    const duration = readProtobufDuration(value);
    const ms = duration && protobufDurationMs(duration);
    if (ms === undefined) context.addIssue('has to be a duration in seconds such as "10s" or "0.5s"');
    else if (ms < 1) context.addIssue('has to be at least 0.001s');
    return ms;
  });

/** NaN stands for an expiration that is missing or wrong until `checkMtls` reports it. */
const rotation = z
  .object({ expiration: text(64) })
  .nullish()
  .transform((value) => {
    const expiration = value?.expiration ?? '';
    return { expiration, expirationMs: parseDuration(expiration) ?? Number.NaN };
  });

const backend = z
  .object({
    name: text(MAX_NAME),
    type: text(MAX_NAME),
    mode,
    dpCert: optional(
      z
        .object({ rotation, requestTimeout })
        .transform(({ rotation, requestTimeout }): DpCert => ({ rotation, requestTimeoutMs: requestTimeout })),
    ),
    rootChain: optional(
      z.object({ requestTimeout }).transform(({ requestTimeout }): RootChain => ({ requestTimeoutMs: requestTimeout })),
    ),
    conf: verbatim(),
    config: z.unknown().optional(),
  })
  .check((context) => {
    // One sample of the product pages writes `config:`, which Kuma drops without a word.
    const { conf, config } = context.value;
    if (conf !== undefined || config === undefined || config === null) return;
    context.issues.push({
      code: 'custom',
      input: config,
      path: ['config'],
      message: 'unknown field; the configuration of a backend stands under "conf"',
    });
  })
  .transform(({ config: _, ...known }): MeshBackend => known);

export const mtlsSchema = z.object({
  enabledBackend: text(MAX_NAME),
  skipValidation: flag(),
  backends: z
    .array(backend)
    .max(MAX_BACKENDS)
    .nullish()
    .transform((value): readonly MeshBackend[] => value ?? []),
}) satisfies z.ZodType<Mtls>;

/** Kuma's static rules, in its order and with its fields (`dpcert` in lower case and without an index is Kuma's). */
export function checkMtls(mtls: Mtls): Violation[] {
  const violations: Violation[] = [];
  const names = new Set<string>();
  for (const [index, { name }] of mtls.backends.entries()) {
    if (names.has(name)) {
      const message = `${JSON.stringify(name)} name is already used for another backend`;
      violations.push({ field: `mtls.backends[${index}].name`, message });
    }
    names.add(name);
  }
  for (const { dpCert } of mtls.backends) {
    if (dpCert && Number.isNaN(dpCert.rotation.expirationMs)) {
      violations.push({ field: 'mtls.dpcert.rotation.expiration', message: 'has to be a valid format' });
    }
  }
  if (mtls.enabledBackend !== '' && !names.has(mtls.enabledBackend)) {
    violations.push({ field: 'mtls.enabledBackend', message: 'has to be set to one of the backends in the mesh' });
  }
  return violations;
}

/** Protobuf JSON as Kuma answers it: STRICT, false, empty texts and empty lists are left out. */
export function mtlsToJson({ enabledBackend, skipValidation, backends }: Mtls): Record<string, unknown> {
  return withoutUndefined({
    enabledBackend: unlessEmpty(enabledBackend),
    backends: unlessEmpty(backends.map(backendToJson)),
    skipValidation: skipValidation || undefined,
  });
}

function backendToJson({ name, type, mode, dpCert, rootChain, conf }: MeshBackend): Record<string, unknown> {
  return withoutUndefined({
    name: unlessEmpty(name),
    type: unlessEmpty(type),
    dpCert:
      dpCert &&
      withoutUndefined({
        rotation: { expiration: dpCert.rotation.expiration },
        requestTimeout: timeoutToJson(dpCert.requestTimeoutMs),
      }),
    conf,
    mode: mode === 'STRICT' ? undefined : mode,
    rootChain: rootChain && withoutUndefined({ requestTimeout: timeoutToJson(rootChain.requestTimeoutMs) }),
  });
}

/** The backend that issues; undefined when mTLS is off. */
export function enabledBackendOf(mtls: Mtls | undefined): MeshBackend | undefined {
  return mtls?.backends.find(({ name }) => name === mtls.enabledBackend);
}

function timeoutToJson(ms: number | undefined): string | undefined {
  return ms === undefined ? undefined : formatProtobufDuration(protobufDurationOf(ms));
}

/** Lifetime of data plane certificates in milliseconds; undefined when the backend does not say. 0 is what Kuma accepts as `0`. */
export function expirationMs(backend: Pick<MeshBackend, 'dpCert'>): number | undefined {
  return backend.dpCert?.rotation.expirationMs;
}

/** Limit on getting one data plane certificate in milliseconds; undefined: none. */
export function dpCertRequestTimeoutMs(backend: Pick<MeshBackend, 'dpCert'>): number | undefined {
  return backend.dpCert?.requestTimeoutMs;
}

/** Kuma's limit on getting the CA certificates where the backend sets none. */
const DEFAULT_ROOT_CHAIN_TIMEOUT_MS = 10_000;

/** Limit on getting the CA certificates in milliseconds. */
export function rootChainRequestTimeoutMs(backend: Pick<MeshBackend, 'rootChain'>): number {
  return backend.rootChain?.requestTimeoutMs ?? DEFAULT_ROOT_CHAIN_TIMEOUT_MS;
}
