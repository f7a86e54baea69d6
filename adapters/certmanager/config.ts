import { z } from 'zod';
import type { Violation } from '../../src/issuer/errors.ts';
import type { DataSource, IssuerContext } from '../../src/issuer/issuer.ts';
import { type CommonNameTemplate, DNS_NAMES } from '../../src/mesh/common-name.ts';
import { isJsonObject, readShapeAndRules } from '../../src/mesh/violations.ts';
import { confError } from '../shared/conf-error.ts';
import { commonName, dataSource, nameTemplate, optional } from '../shared/conf-fields.ts';
import { isNoDnsName } from './dns-names.ts';

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

const MAX_DNS_NAMES = 64;
const MAX_NAME = 253;
const MAX_KIND = 63;

const SUBDOMAIN = /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*$/;
const KIND = /^[A-Za-z](?:[-A-Za-z0-9]*[A-Za-z0-9])?$/;
const NAME_FORM =
  "has to be a lowercase RFC 1123 subdomain: lower case letters, digits, '-' and '.', beginning and ending with a letter or digit";
const KIND_FORM = 'has to be the kind of a resource, such as Issuer or ClusterIssuer';

const subdomain = z.string().max(MAX_NAME).regex(SUBDOMAIN, { error: NAME_FORM });

/** Unknown fields are dropped, as Kuma drops them; `ca` is known so that it can be told by its new name. */
const schema = z.object({
  issuerRef: z.object({
    name: subdomain,
    kind: optional(z.string().max(MAX_KIND).regex(KIND, { error: KIND_FORM })),
    group: optional(subdomain),
  }),
  commonName,
  dnsNames: z.array(nameTemplate(DNS_NAMES)).max(MAX_DNS_NAMES).nullish(),
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
  const shape = readShapeAndRules(schema, conf, ({ dnsNames }) => dnsNamesThatAreNone(dnsNames ?? []), violations);
  if (shape === undefined) throw confError('certmanager', context, violations);
  const { name, kind, group } = shape.issuerRef;
  return {
    issuerRef: { name, kind: kind || 'Issuer', group: group || 'cert-manager.io' },
    commonName: shape.commonName ?? undefined,
    dnsNames: shape.dnsNames?.flatMap((one) => one ?? []) ?? [],
    caCert: shape.caCert ?? undefined,
  };
}

function dnsNamesThatAreNone(templates: readonly (CommonNameTemplate | undefined)[]): readonly Violation[] {
  return templates.flatMap((template, index) =>
    template !== undefined && isNoDnsName(template) ? [{ field: `dnsNames[${index}]`, message: 'is no DNS name' }] : [],
  );
}
