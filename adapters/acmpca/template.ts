import { RequestInvalidError } from '../../src/issuer/errors.ts';
import type { Identity } from '../../src/issuer/issuer.ts';
import type { CaArn } from './ca-arn.ts';

/**
 * AWS's templates that this adapter uses (AWS Private CA user guide, "template definitions"). Both give CA:FALSE, the key usages
 * digitalSignature and keyEncipherment (critical), and the extended key usages serverAuth and clientAuth: what a proxy needs, so no
 * `Blank…` template with usages of our own is called for.
 */
const TEMPLATES = {
  /** Subject and SANs as the CSR has them. The only one that AWS's managed policy `AWSCertificateManagerPrivateCAUser` allows. */
  csr: { name: 'EndEntityCertificate/V1', signsCsrAsIs: true },
  /** Subject and SANs as the call tells them; they win over the CSR's. */
  api: { name: 'EndEntityCertificate_APIPassthrough/V1', signsCsrAsIs: false },
} as const;

export interface Template {
  readonly name: string;
  readonly arn: string;
  readonly signsCsrAsIs: boolean;
}

/** With a commonName in the conf the names are ours to say, so that a caller's CSR need not carry them. */
export function chooseTemplate(ca: CaArn, hasCommonName: boolean): Template {
  const { name, signsCsrAsIs } = hasCommonName ? TEMPLATES.api : TEMPLATES.csr;
  return { name, signsCsrAsIs, arn: `arn:${ca.partition}:acm-pca:::template/${name}` };
}

/** What IssueCertificate takes beside the CSR. Fields as AWS's API names them. */
export interface Passthrough {
  readonly Subject: { readonly CommonName: string };
  readonly Extensions: { readonly SubjectAlternativeNames: GeneralName[] };
}
export type GeneralName = { readonly UniformResourceIdentifier: string } | { readonly DnsName: string };

/** Caps of AWS's API: `Extensions.SubjectAlternativeNames`, `GeneralName`. */
const MAX_NAMES = 150;
const MAX_NAME_LENGTH = 253;

/**
 * Undefined for a template that takes the names from the CSR.
 * @throws RequestInvalidError when the identity has more or longer names than AWS takes
 */
export function passthroughOf(template: Template, identity: Identity): Passthrough | undefined {
  if (template.signsCsrAsIs) return undefined;
  const names: GeneralName[] = [
    ...identity.uriSans.map((uri) => ({ UniformResourceIdentifier: uri })),
    ...identity.dnsNames.map((dns) => ({ DnsName: dns })),
  ];
  const long = [...identity.uriSans, ...identity.dnsNames].find((name) => name.length > MAX_NAME_LENGTH);
  if (names.length > MAX_NAMES || long !== undefined) {
    const what =
      long === undefined
        ? `${names.length} names, AWS Private CA takes ${MAX_NAMES}`
        : `a name of ${long.length} characters, AWS Private CA takes ${MAX_NAME_LENGTH}: ${JSON.stringify(long.slice(0, MAX_NAME_LENGTH))}`;
    throw new RequestInvalidError(`dataplane ${JSON.stringify(identity.dataplane)} has ${what}`, {
      fix: 'give the data plane fewer or shorter tags',
    });
  }
  return { Subject: { CommonName: identity.commonName }, Extensions: { SubjectAlternativeNames: names } };
}
