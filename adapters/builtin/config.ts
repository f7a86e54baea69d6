import { z } from 'zod';
import type { Violation } from '../../src/issuer/errors.ts';
import type { IssuerContext, KeyType } from '../../src/issuer/issuer.ts';
import { parseDuration } from '../../src/mesh/duration.ts';
import { isJsonObject, readShape } from '../../src/mesh/violations.ts';
import { confError } from '../shared/conf-error.ts';
import { caSecretNames } from './ca-secrets.ts';

/** Complete and checked. */
export interface BuiltinConf {
  readonly caCert: {
    /** Of the CA's own key; says nothing about the keys of data planes. */
    readonly keyType: KeyType;
    readonly expirationMs: number;
  };
}

const MINUTE_MS = 60_000;
const YEAR_MS = 365 * 24 * 60 * MINUTE_MS;
/** Kuma's defaults: 10 years of 365 days, RSA of 2048 bits. */
const DEFAULT_EXPIRATION_MS = 10 * YEAR_MS;
const DEFAULT_RSA_BITS = 2048;
const LONGEST_EXPIRATION_MS = 100 * YEAR_MS;

/** A protobuf `UInt32Value` is read from a JSON number or from its decimal text. */
const rsaBits = z
  .literal([2048, 3072, 4096, '2048', '3072', '4096'], { error: 'has to be one of 2048, 3072, 4096' })
  .transform((bits) => Number(bits) as 2048 | 3072 | 4096);

const DURATION_FORM = 'one number with one unit of y, w, d, h, m, s, ms, such as 10y';
const expiration = z.string({ error: `has to be a valid format: ${DURATION_FORM}` }).transform((text, ctx) => {
  if (text === '') return DEFAULT_EXPIRATION_MS;
  const ms = parseDuration(text);
  if (ms === undefined) ctx.addIssue(`has to be a valid format: ${DURATION_FORM}`);
  else if (ms < MINUTE_MS || ms > LONGEST_EXPIRATION_MS) ctx.addIssue('has to be between 1m and 100y');
  return ms ?? DEFAULT_EXPIRATION_MS;
});

const KEY_TYPE_CHOICE = ['RSA', 'EC-P256', 'EC-P384'] as const;
const keyType = z.enum(KEY_TYPE_CHOICE);

/** Unknown fields are dropped, as Kuma drops them. */
const schema = z
  .object(
    {
      caCert: z
        .object({
          RSAbits: rsaBits.nullish(),
          rsaBits: rsaBits.nullish(),
          expiration: expiration.nullish(),
          keyType: keyType.nullish(),
        })
        .nullish(),
    },
    { error: 'could not convert backend config: has to be an object' },
  )
  .nullish();

/**
 * The conf of a builtin backend: Kuma's `caCert.RSAbits` (alias `rsaBits`) and `caCert.expiration`, and our `caCert.keyType`.
 * Also holds Kuma's rules for the backend's name, since it becomes part of secret names.
 * @throws ConfigError with all violations
 */
export function parseConf(conf: unknown, context: IssuerContext): BuiltinConf {
  const violations: Violation[] = [];
  const read = readShape(schema, conf, violations);
  violations.push(...conflictsOf(conf), ...nameViolations(context));
  if (violations.length > 0) throw confError('builtin', context, violations);
  const caCert = read?.caCert ?? {};
  const bits = caCert.RSAbits ?? caCert.rsaBits ?? DEFAULT_RSA_BITS;
  return {
    caCert: {
      keyType: caCert.keyType === 'EC-P256' || caCert.keyType === 'EC-P384' ? caCert.keyType : `RSA-${bits}`,
      expirationMs: caCert.expiration ?? DEFAULT_EXPIRATION_MS,
    },
  };
}

/** Fields that exclude each other. Asked of what was written, so that they are told beside all other mistakes. */
function conflictsOf(conf: unknown): Violation[] {
  const written = isJsonObject(conf) && isJsonObject(conf.caCert) ? conf.caCert : {};
  const bitsFields = ['RSAbits', 'rsaBits'].filter((field) => written[field] !== undefined && written[field] !== null);
  const violations: Violation[] = [];
  if (bitsFields.length === 2) {
    violations.push({
      field: 'caCert.rsaBits',
      message: 'cannot be set together with RSAbits: it is another name for it',
    });
  }
  if (written.keyType === 'EC-P256' || written.keyType === 'EC-P384') {
    for (const field of bitsFields) {
      violations.push({ field: `caCert.${field}`, message: `cannot be set when keyType is ${written.keyType}` });
    }
  }
  return violations;
}

const MAX_NAME_LENGTH = 255;
const NAME_FIELD = 'mtls.backends.name';
/** Underscores and inner dots are allowed, as in the library that Kuma asks. */
const DNS_NAME = /^[a-z0-9_][a-z0-9_-]{0,62}(\.[a-z0-9_][a-z0-9_-]{0,62})*[._]?$/;

/** Kuma's rules and messages, checked like there on the whole name of the certificate's secret. */
function nameViolations(context: IssuerContext): Violation[] {
  const { cert } = caSecretNames(context);
  const violations: Violation[] = [];
  if (cert.length > MAX_NAME_LENGTH) {
    violations.push({ field: NAME_FIELD, message: `Backend name is too long. Max length: ${MAX_NAME_LENGTH}` });
  }
  if (!DNS_NAME.test(cert)) {
    violations.push({ field: NAME_FIELD, message: `${JSON.stringify(context.backend)} name must be valid dns name` });
  }
  return violations;
}
