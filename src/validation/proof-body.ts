import { z } from 'zod';
import type { StoredResource } from '../store/store.ts';
import type { Proof } from './proof.ts';

/** More checks than any type of backend has, and longer texts than any of them says. */
const MAX_CHECKS = 256;
const text = z.string().max(10_000);
const name = z.string().max(1_000);
const durationMs = z.number().min(0);
/** Of a body that is read. */
const MAX_BODY = 2 * 1024 * 1024;
const instant = z.iso.datetime().transform((value) => new Date(value));

const check = z.object({
  name: z.string().max(200),
  status: z.enum(['passed', 'warning', 'failed', 'skipped']),
  message: text,
  cause: text.exactOptional(),
  fix: text.exactOptional(),
  field: text.exactOptional(),
  retry: z.boolean().exactOptional(),
  dependsOn: z.string().max(200).exactOptional(),
  durationMs,
});

const proofBody = z.object({
  type: name,
  backendHash: name,
  ok: z.boolean(),
  retry: z.boolean(),
  provenAt: instant,
  durationMs,
  checks: z.array(check).max(MAX_CHECKS),
  caExpiresAt: instant.exactOptional(),
  rootExpiresAt: instant.exactOptional(),
});

/** What is stored of a proof; mesh and backend are its key, and its roots stand in the trust bundle. */
export function writeProofBody({ mesh: _mesh, backend: _backend, roots: _roots, ...body }: Proof): string {
  return JSON.stringify(body);
}

/** Undefined: it was written by another version, or is damaged. */
export function readProofBody({ mesh, name, body }: Pick<StoredResource, 'mesh' | 'name' | 'body'>): Proof | undefined {
  if (body.length > MAX_BODY) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    return undefined;
  }
  const parsed = proofBody.safeParse(value);
  return parsed.success ? { mesh, backend: name, ...parsed.data } : undefined;
}
