import { z } from 'zod';
import { ConfigError, type Violation } from '../../src/issuer/errors.ts';
import type { DataSource, IssuerContext } from '../../src/issuer/issuer.ts';
import { type CommonNameTemplate, DNS_NAMES, type NameForm, parseCommonName } from '../../src/mesh/common-name.ts';
import { parseDataSource } from '../../src/mesh/data-source.ts';
import { isJsonObject, readShapeAndRules } from '../../src/mesh/violations.ts';
import { confError } from '../shared/conf-error.ts';

/** Which issuer of cert-manager, or of an external issuer's own API group, is to sign. */
export interface IssuerRef {
  readonly name: string;
  /** `Issuer`, which stands in the system namespace, or `ClusterIssuer`, or an external issuer's kind. */
  readonly kind: string;
  readonly group: string;
}

/** Complete and checked. */
export interface CertManagerConf {
  readonly issuerRef: IssuerRef;
  readonly commonName: CommonNameTemplate | undefined;
  readonly dnsNames: readonly CommonNameTemplate[];
  readonly caCert: DataSource | undefined;
}

export const MAX_DNS_NAMES = 64;
const MAX_NAME = 253;
const MAX_KIND = 63;

const SUBDOMAIN = /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*$/;
const KIND = /^[A-Za-z](?:[-A-Za-z0-9]*[A-Za-z0-9])?$/;
const NAME_FORM =
  "has to be a lowercase RFC 1123 subdomain: lower case letters, digits, '-' and '.', beginning and ending with a letter or digit";
const KIND_FORM = 'has to be the kind of a resource, such as Issuer or ClusterIssuer';

/** '' stands for a field that was left out, as in protobuf. */
const orEmpty = <S extends z.ZodType>(schema: S) => z.union([z.literal(''), schema]).nullish();

const subdomain = z.string().max(MAX_NAME).regex(SUBDOMAIN, { error: NAME_FORM });

const dnsName = z.string().transform((source, ctx) => parseTemplate(source, ctx, DNS_NAMES));

const dataSource = z.unknown().transform((value, ctx) => {
  const violations: Violation[] = [];
  const source = parseDataSource(value, '', violations);
  for (const { field, message } of violations) {
    ctx.addIssue({ code: 'custom', path: field.split('.').filter((part) => part !== ''), message });
  }
  return source;
});

/** Unknown fields are dropped, as Kuma drops them; `ca` is known so that it can be told by its new name. */
const schema = z.object({
  issuerRef: z.object({
    name: subdomain,
    kind: orEmpty(z.string().max(MAX_KIND).regex(KIND, { error: KIND_FORM })),
    group: orEmpty(subdomain),
  }),
  commonName: z
    .string()
    .transform((source, ctx) => (source === '' ? undefined : parseTemplate(source, ctx)))
    .nullish(),
  dnsNames: z.array(dnsName).max(MAX_DNS_NAMES).nullish(),
  caCert: dataSource.nullish(),
});

/**
 * The conf of a certmanager backend as Kong Mesh has it. `conf.ca`, the name that `caCert` had before Kong Mesh 2.2 (#2963), is refused: were
 * it dropped like an unknown field, the pin to a root would be lost without a word.
 * @throws ConfigError with all violations
 */
export function parseConf(conf: unknown, context: IssuerContext): CertManagerConf {
  const violations: Violation[] = [];
  if (isJsonObject(conf) && conf.ca !== undefined && conf.ca !== null) {
    violations.push({ field: 'ca', message: 'is called caCert since Kong Mesh 2.2: rename it' });
  }
  const shape = readShapeAndRules(schema, conf, () => [], violations);
  if (shape === undefined) throw confError('certmanager', context, violations);
  const { name, kind, group } = shape.issuerRef;
  return {
    issuerRef: { name, kind: kind || 'Issuer', group: group || 'cert-manager.io' },
    commonName: shape.commonName ?? undefined,
    dnsNames: shape.dnsNames?.flatMap((one) => one ?? []) ?? [],
    caCert: shape.caCert ?? undefined,
  };
}

function parseTemplate(source: string, ctx: z.RefinementCtx, form?: NameForm): CommonNameTemplate | undefined {
  try {
    return parseCommonName(source, form);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    ctx.addIssue(error.violations[0]?.message ?? error.message);
    return undefined;
  }
}
