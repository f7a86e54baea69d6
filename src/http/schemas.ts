import { z } from 'zod';

/** Shapes of our own calls (API.md). Requests are checked by them, and openapi.json is made from them. */

const instant = z.iso.datetime().describe('RFC 3339, UTC');
const pem = z.string().describe('PEM');

/** Whether a backend is held back as a whole, and the failure that led to it: in errors, and beside a stale certificate. */
const held = {
  breaker: z
    .enum(['closed', 'half-open', 'open'])
    .optional()
    .describe('Of the backend; `open`: nobody asks it now, `half-open`: one request tries whether it is well again'),
  cause: z
    .object({ code: z.string(), detail: z.string() })
    .optional()
    .describe('The failure of the backend that led to it'),
};

/** Checked by `parseTags`, which knows Kuma's rules and fields; a record of zod's would drop a tag named `__proto__` without a word. */
const tags = z.unknown().meta({
  type: 'object',
  additionalProperties: { anyOf: [{ type: 'string' }, { type: 'array', items: { type: 'string' } }] },
  description: 'Tag to its value or list of values. Absent: the tags of the Dataplane resource',
});

export const identityRequest = z.strictObject({ tags: tags.optional() });
export type IdentityRequestBody = z.output<typeof identityRequest>;

export const certificateRequest = z.strictObject({
  tags: tags.optional(),
  csr: z
    .string()
    .optional()
    .describe('PKCS#10, PEM. Only its public key is used. Absent: a key pair is made and returned'),
  current: z.string().optional().describe('PEM of the leaf that the proxy holds; kept if it still stands'),
  force: z.boolean().optional().describe('Issue even if what there is stands'),
});
export type CertificateRequestBody = z.output<typeof certificateRequest>;

export const certificateLine = z.strictObject({ dataplane: z.string().min(1).max(253), ...certificateRequest.shape });
export type CertificateLine = z.output<typeof certificateLine>;

export const certificateAnswer = z.object({
  mesh: z.string(),
  dataplane: z.string(),
  backend: z.string(),
  type: z.string().describe('Type of the backend'),
  certificate: pem.describe('The leaf, PEM'),
  caChain: z.array(pem).describe('Intermediates, the issuer of the leaf first, never a root'),
  privateKey: pem.optional().describe('PKCS#8; only when the key was made here or by the backend'),
  serialNumber: z.string().describe('Lower-case hex'),
  uriSans: z.array(z.string()),
  commonName: z.string(),
  notBefore: instant,
  notAfter: instant,
  renewAt: instant,
  outcome: z.enum(['issued', 'reused', 'kept', 'stale']),
  retryAfterSeconds: z.int().optional().describe('With `stale`: when to ask again'),
  validForSeconds: z.int().optional().describe('With `stale`: what is left of the certificate'),
  ...held,
  trustBundle: z.object({ version: z.string(), pem: pem.describe('All roots of the mesh') }),
});

export const identityAnswer = z.object({
  uriSans: z.array(z.string()),
  dnsNames: z.array(z.string()),
  commonName: z.string(),
  signsCsrAsIs: z.boolean().describe('A CSR has to carry exactly these names'),
  keyTypes: z.array(z.string()),
});

export const trustBundle = z.object({
  mesh: z.string(),
  version: z.string().describe('An integer that only grows'),
  roots: z.array(
    z.object({
      backends: z.array(z.string()),
      subject: z.string(),
      serialNumber: z.string(),
      fingerprintSha256: z.string(),
      notBefore: instant,
      notAfter: instant,
      pem,
    }),
  ),
});

/** What one check says. The names are in docs/checks.md. */
const check = z.object({
  name: z.string().describe('Stable, such as `vault.login` or `certificate.chain`'),
  status: z.enum(['passed', 'warning', 'failed', 'skipped']),
  durationMs: z.int(),
  message: z.string().describe('One sentence'),
  cause: z.string().optional(),
  fix: z.string().optional().describe('What to do about it'),
  field: z.string().optional().describe('The key of `conf` that is to blame'),
  dependsOn: z.string().optional().describe('Of a skipped one: the failed check without which it can tell nothing'),
});

export const validationAnswer = z.object({
  ok: z.boolean().describe('Nothing failed'),
  backends: z.array(
    z.object({
      mesh: z.string(),
      backend: z.string(),
      type: z.string(),
      ok: z.boolean(),
      retry: z.boolean().describe('Whether all that failed may pass later by itself'),
      provenAt: instant,
      durationMs: z.int(),
      caExpiresAt: instant.optional().describe('When the first of the CAs above the test certificate ends'),
      rootExpiresAt: instant.optional(),
      checks: z.array(check),
    }),
  ),
});

/** What is left out has its default, or stays as it is when the rotation is under way. */
export const rotationRequest = z.strictObject({
  to: z
    .string()
    .min(1)
    .max(253)
    .describe('A backend of the Mesh; the enabled one, if it is builtin: to a new generation of its root'),
  keepOld: z.boolean().optional().describe('The old backend stays in the Mesh. Default false'),
  maxPerSecond: z.int().min(1).max(10_000).optional().describe('Certificates made anew in a second. Default 50'),
  paused: z
    .boolean()
    .optional()
    .describe('Nothing is changed and nothing made anew until it is false again. Default false'),
  immediate: z
    .boolean()
    .optional()
    .describe(
      'For a compromised CA: all certificates are made anew at once, offline data planes are not waited for. Default false',
    ),
});
export type RotationRequestBody = z.output<typeof rotationRequest>;

const blocker = z.object({
  dataplane: z.string().describe('Empty: it is no single data plane'),
  zone: z.string(),
  waitingFor: z.string().describe('Such as `trust bundle 7 (has 6)`'),
  since: instant,
});

const rotationState = z.enum([
  'idle',
  'trusting',
  'switching',
  'draining',
  'removing',
  'done',
  'paused',
  'rolling-back',
]);

export const rotationAnswer = z.object({
  mesh: z.string(),
  state: rotationState.describe(
    '`idle`: there was none; numbers and `can…` tell how far a step-by-step change of the Mesh is',
  ),
  step: rotationState.optional().describe('With `paused`: the state that goes on when it is resumed'),
  phase: rotationState
    .optional()
    .describe('How far it is, whichever way it goes; also while it is paused or rolls back'),
  kind: z.enum(['backend', 'generation']).optional().describe('`generation`: to the next root of one builtin backend'),
  direction: z.enum(['forward', 'back']).optional(),
  from: z.string().optional(),
  to: z.string().optional(),
  enabledBackend: z.string().optional().describe('With `idle`: who issues now; absent when mTLS is off'),
  startedAt: instant.optional(),
  finishedAt: instant.optional(),
  options: z.object({ keepOld: z.boolean(), maxPerSecond: z.number(), immediate: z.boolean() }).optional(),
  steps: z.array(z.object({ state: rotationState, at: instant })).describe('Each state that began, in order'),
  problem: z.string().optional().describe('Why it paused by itself, or what keeps it from going on now'),
  etaSeconds: z.number().optional().describe('Estimated time to the end of what it is doing'),
  dataplanes: z.object({
    total: z.int().describe('Online, or holding a certificate that has not expired'),
    online: z.int(),
    trustingNew: z.int().describe('Of those online. New is always `to`, also while it is rolled back'),
    usingNew: z.int(),
    usingOld: z.int(),
  }),
  blockers: z.array(blocker).describe('Who is waited for, sorted by name; the first 100'),
  blockersTotal: z.int(),
  canSwitch: z.boolean().describe('Every online data plane trusts `to`: `enabledBackend` may be changed'),
  canRemoveOld: z
    .boolean()
    .describe('`to` issues, and nobody holds an unexpired certificate of `from`: it may be removed'),
});

export const problem = z.object({
  type: z.string(),
  status: z.int(),
  title: z.string(),
  detail: z.string(),
  instance: z.string().optional(),
  invalid_parameters: z.array(z.object({ field: z.string(), reason: z.string() })).optional(),
  details: z.string(),
  causes: z.array(z.object({ field: z.string(), message: z.string() })).optional(),
  code: z.string().describe('Stable name of the error'),
  retry: z.boolean().describe('Whether the same request may succeed later'),
  retryAfterSeconds: z.int().optional(),
  ...held,
  fix: z.string().optional().describe('What to do about it'),
  checks: z
    .array(check.extend({ backend: z.string() }))
    .optional()
    .describe('The checks that failed, with ERR_BACKEND_INVALID'),
  blockers: z.array(blocker).optional().describe('With ERR_ROTATION_NOT_READY: who is not ready; the first 10'),
  blockersTotal: z.int().optional(),
});

export const certificateLineAnswer = z.union([
  certificateAnswer,
  z.object({ dataplane: z.string().describe('Empty when the line did not tell it'), error: problem }),
]);

/** Kuma's resources are checked by their own parsers, with Kuma's fields and messages. */
export const resource = z.looseObject({
  type: z.string().optional(),
  mesh: z.string().optional(),
  name: z.string().optional(),
});
export const anyJson = z.unknown();

export const resourceList = z.object({ total: z.int(), items: z.array(resource), next: z.string().nullable() });
export const readyAnswer = z.object({
  status: z.literal('ok'),
  unproven: z
    .array(z.object({ mesh: z.string(), backend: z.string(), type: z.string(), reason: z.string() }))
    .describe('Enabled backends whose last proof by a test certificate failed or is missing; the first 100'),
  unprovenTotal: z.int(),
});
export const putAnswer = z.object({ warnings: z.array(z.string()).optional() });
export const index = z.object({
  hostname: z.string(),
  product: z.string(),
  version: z.string(),
  instanceId: z.string(),
  clusterId: z.string(),
  gui: z.string(),
  meshCaVersion: z.string(),
});
