import { z } from 'zod';
import type { Violation } from '../issuer/errors.ts';
import { decodeBase64 } from './base64.ts';
import type { Labels } from './labels.ts';
import { labels, withoutUndefined } from './shape.ts';
import { type JsonObject, readShape, throwIfAny } from './violations.ts';

/** A mesh-scoped Secret. */
export interface Secret {
  readonly type: 'Secret';
  readonly mesh: string;
  readonly name: string;
  readonly labels?: Labels | undefined;
  /** Decoded; may be empty. */
  readonly data: Buffer;
}

const MAX_BYTES = 1024 * 1024;
const MAX_TEXT = Math.ceil(MAX_BYTES / 3) * 4;

const secretSchema = z.object({
  labels: labels(),
  data: z.string().transform((text, context) => {
    const data = text.length <= MAX_TEXT ? decodeBase64(text) : Buffer.alloc(0);
    if (data === undefined) {
      context.addIssue({ code: 'custom', message: 'has to be standard base64 with padding and without white space' });
      return z.NEVER;
    }
    if (text.length > MAX_TEXT || data.length > MAX_BYTES) {
      context.addIssue({ code: 'custom', message: `cannot be larger than ${MAX_BYTES} bytes` });
      return z.NEVER;
    }
    return data;
  }),
});

/**
 * A Secret from JSON, `data` in base64 of at most 1 MiB.
 * @throws ConfigError with all violations; never with a part of the secret
 */
export function parseSecret(input: unknown, { name, mesh }: { readonly name: string; readonly mesh: string }): Secret {
  const violations: Violation[] = [];
  const shape = readShape(secretSchema, input, violations);
  throwIfAny(violations, `secret ${JSON.stringify(name)}`);
  return { type: 'Secret', mesh, name, labels: shape?.labels, data: shape?.data ?? Buffer.alloc(0) };
}

/** JSON as Kuma answers it, without type, mesh, name and times. It holds the secret. */
export function secretToJson(secret: Secret): JsonObject {
  return withoutUndefined({ labels: secret.labels, data: secret.data.toString('base64') });
}
