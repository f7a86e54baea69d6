import { z } from 'zod';
import type { Violation } from '../issuer/errors.ts';
import type { Labels } from './labels.ts';
import { checkMtls, type Mtls, mtlsSchema, mtlsToJson } from './mtls.ts';
import { labels, optional, verbatim, withoutUndefined } from './shape.ts';
import { type JsonObject, readShapeAndRules, throwIfAny } from './violations.ts';

export type { MeshBackend, Mtls } from './mtls.ts';

/** The Mesh of Kuma 2.14. What has nothing to do with mTLS is kept as it was written; fields that Kuma does not know are dropped. */
export interface Mesh {
  readonly type: 'Mesh';
  readonly name: string;
  readonly labels?: Labels | undefined;
  readonly mtls?: Mtls | undefined;
  readonly tracing?: JsonObject | undefined;
  readonly logging?: JsonObject | undefined;
  readonly metrics?: JsonObject | undefined;
  readonly networking?: JsonObject | undefined;
  readonly routing?: JsonObject | undefined;
  readonly constraints?: JsonObject | undefined;
  readonly skipCreatingInitialPolicies?: readonly string[] | undefined;
  readonly meshServices?: JsonObject | undefined;
}

const meshSchema = z.object({
  labels: labels(),
  mtls: optional(mtlsSchema),
  tracing: verbatim(),
  logging: verbatim(),
  metrics: verbatim(),
  networking: verbatim(),
  routing: optional(z.looseObject({ zoneEgress: optional(z.boolean()) })),
  constraints: verbatim(),
  skipCreatingInitialPolicies: optional(z.array(z.string()).max(256)),
  meshServices: verbatim(),
});

/**
 * A Mesh from JSON (a PUT body, a stored resource, or one YAML document), checked with Kuma's static rules. Any number of backends up to 64,
 * as in Kong Mesh. Whether a backend's `type` exists and its `conf` is right is checked by whoever knows the types.
 * @throws ConfigError with all violations
 */
export function parseMesh(input: unknown, { name }: { readonly name: string }): Mesh {
  const violations: Violation[] = [];
  const shape = readShapeAndRules(meshSchema, input, meshRules, violations);
  throwIfAny(violations, `mesh ${JSON.stringify(name)}`);
  return { type: 'Mesh', name, ...shape };
}

function meshRules({ mtls, routing }: z.output<typeof meshSchema>): Violation[] {
  const violations = mtls ? checkMtls(mtls) : [];
  if (routing?.zoneEgress && !mtls?.enabledBackend) {
    violations.push({ field: 'mtls', message: 'has to be set when zoneEgress enabled' });
  }
  return violations;
}

/** Protobuf JSON as Kuma answers it, without type, name and times. */
export function meshToJson(mesh: Mesh): JsonObject {
  const { type: _type, name: _name, mtls, skipCreatingInitialPolicies, ...others } = mesh;
  return withoutUndefined({
    ...others,
    mtls: mtls && mtlsToJson(mtls),
    skipCreatingInitialPolicies: skipCreatingInitialPolicies?.length ? skipCreatingInitialPolicies : undefined,
  });
}
