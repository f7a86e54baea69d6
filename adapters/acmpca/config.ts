import { z } from 'zod';
import type { Violation } from '../../src/issuer/errors.ts';
import type { DataSource, IssuerContext } from '../../src/issuer/issuer.ts';
import type { CommonNameTemplate } from '../../src/mesh/common-name.ts';
import { readShape } from '../../src/mesh/violations.ts';
import { confError } from '../shared/conf-error.ts';
import { commonName, dataSource, optional, serverUrl } from '../shared/conf-fields.ts';
import { type CaArn, parseCaArn } from './ca-arn.ts';

/** Complete and checked. */
export interface AcmPcaConf {
  readonly arn: CaArn;
  readonly commonName: CommonNameTemplate | undefined;
  /** The CA's root certificate, with intermediates if it has some. Not the CA of AWS's TLS certificate, whatever the sample's comment says. */
  readonly caCert: DataSource | undefined;
  /** Undefined: the default chain of AWS's SDK. */
  readonly awsCredentials: { readonly accessKey: DataSource; readonly accessKeySecret: DataSource } | undefined;
  /** Without a slash at its end. Undefined: `AWS_ENDPOINT_URL_ACM_PCA`, `AWS_ENDPOINT_URL`, or AWS's own. */
  readonly endpoint: string | undefined;
}

const ENDPOINT_EXAMPLE = 'https://vpce-0123.acm-pca.eu-west-1.vpce.amazonaws.com';

const arn = z.string().transform((text, ctx) => {
  const parsed = parseCaArn(text);
  if (!('mistake' in parsed)) return parsed;
  ctx.addIssue(parsed.mistake);
  return undefined;
});

const awsCredentials = z
  .object({ accessKey: dataSource.nullish(), accessKeySecret: dataSource.nullish() })
  .transform(({ accessKey, accessKeySecret }, ctx) => {
    const has = { accessKey: accessKey ?? undefined, accessKeySecret: accessKeySecret ?? undefined };
    if (has.accessKey !== undefined && has.accessKeySecret !== undefined) {
      return { accessKey: has.accessKey, accessKeySecret: has.accessKeySecret };
    }
    for (const [field, other] of [
      ['accessKey', 'accessKeySecret'],
      ['accessKeySecret', 'accessKey'],
    ] as const) {
      if (has[field] !== undefined || has[other] === undefined) continue;
      ctx.addIssue({ code: 'custom', path: [field], message: `has to be defined where ${other} is` });
    }
    return undefined;
  });

/** Unknown fields are dropped, as Kuma drops them. */
const schema = z.object({
  arn,
  commonName,
  caCert: dataSource.nullish(),
  auth: z.object({ awsCredentials: awsCredentials.nullish() }).nullish(),
  endpoint: optional(serverUrl(ENDPOINT_EXAMPLE)),
});

/**
 * The conf of an acmpca backend, as the product documentation has it; `endpoint` is ours.
 * @throws ConfigError with all violations
 */
export function parseConf(conf: unknown, context: IssuerContext): AcmPcaConf {
  const violations: Violation[] = [];
  const read = readShape(schema, conf, violations);
  if (read?.arn === undefined) throw confError('acmpca', context, violations);
  return {
    arn: read.arn,
    commonName: read.commonName ?? undefined,
    caCert: read.caCert ?? undefined,
    awsCredentials: read.auth?.awsCredentials ?? undefined,
    endpoint: read.endpoint || undefined,
  };
}
