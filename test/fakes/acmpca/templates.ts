import type { OidName } from '../../../src/x509/oids.ts';
import { AwsError } from './aws-error.ts';

/** What a certificate template decides (user guide, "AWS Private CA template definitions"). Key usage is the same for all of these. */
export interface Template {
  readonly name: string;
  readonly extendedKeyUsage: readonly OidName[];
  /** Subject and subject alternative names of ApiPassthrough win over those of the CSR. */
  readonly takesApi: boolean;
}

const END_ENTITIES: Readonly<Record<string, readonly OidName[]>> = {
  EndEntityCertificate: ['serverAuth', 'clientAuth'],
  EndEntityClientAuthCertificate: ['clientAuth'],
  EndEntityServerAuthCertificate: ['serverAuth'],
};
const VARIETIES: Readonly<Record<string, boolean>> = {
  '': false,
  _APIPassthrough: true,
  _CSRPassthrough: false,
  _APICSRPassthrough: true,
};

const TEMPLATES: ReadonlyMap<string, Template> = new Map(
  Object.entries(END_ENTITIES).flatMap(([base, extendedKeyUsage]) =>
    Object.entries(VARIETIES).map(([suffix, takesApi]) => {
      const name = `${base}${suffix}/V1`;
      return [name, { name, extendedKeyUsage, takesApi }] as const;
    }),
  ),
);

/** Templates that AWS has and this fake has not. */
const OTHER_TEMPLATES =
  /^(Blank(EndEntityCertificate|SubordinateCACertificate)|CodeSigningCertificate|OCSPSigningCertificate|SubordinateCACertificate|RootCACertificate)[A-Za-z0-9_]*\/V1$/;

/** What AWS takes when a request names no template. */
const DEFAULT_TEMPLATE = 'EndEntityCertificate/V1';

/** @throws AwsError for a template that is not there, or of another partition (`arn:aws-cn:acm-pca:::template/...`) */
export function findTemplate(arn: string | undefined, partition: string): Template {
  const prefix = `arn:${partition}:acm-pca:::template/`;
  const name = arn === undefined ? DEFAULT_TEMPLATE : arn.startsWith(prefix) ? arn.slice(prefix.length) : '';
  const template = TEMPLATES.get(name);
  if (template !== undefined) return template;
  if (OTHER_TEMPLATES.test(name)) throw new AwsError('NotSupportedByThisFake', `template ${name}`, 501);
  throw new AwsError('InvalidArnException', `Invalid template ARN: ${arn}`);
}
