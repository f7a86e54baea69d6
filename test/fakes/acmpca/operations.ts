import { oid, sequence } from '../../../src/x509/der-writer.ts';
import { basicConstraints, extension, keyUsage } from '../../../src/x509/extensions.ts';
import { encodePem } from '../../../src/x509/pem.ts';
import { readPassthrough } from './api-passthrough.ts';
import { checkArn, type Owner } from './arn.ts';
import { AwsError, constraintError } from './aws-error.ts';
import type { Operation } from './calls.ts';
import type { CaState, SigningCa } from './certificate-authority.ts';
import type { IssuedCertificates } from './issued.ts';
import { readCsr } from './read-csr.ts';
import { findTemplate } from './templates.ts';
import { resolvePeriod } from './validity.ts';
import { SIGNING_ALGORITHMS } from './write-certificate.ts';

export type Body = Readonly<Record<string, unknown>>;

/** What the operations work on. */
export interface ServiceState {
  readonly owner: Owner;
  readonly cas: ReadonlyMap<string, SigningCa>;
  readonly issued: IssuedCertificates;
  readonly now: () => Date;
  readonly monotonicMs: () => number;
  /** Of the certificate with this number, from 0. */
  readyAfterMs(index: number): number;
  readonly failIssuing: boolean;
}

/** What a caller may read in each state; elsewhere InvalidStateException. */
const HAS_CERTIFICATE: readonly CaState[] = ['ACTIVE', 'DISABLED', 'EXPIRED'];
const KEY_FAMILY = { 'EC-P256': 'ec', 'EC-P384': 'ec', 'RSA-2048': 'rsa' } as const;
const KEY_ALGORITHM = { 'EC-P256': 'EC_prime256v1', 'EC-P384': 'EC_secp384r1', 'RSA-2048': 'RSA_2048' } as const;
const DAY_SECONDS = 24 * 3600;
const RESTORABLE_DAYS = 30;

/** The operations, after authentication, throttling and authorization. Each throws AwsError. */
export const HANDLERS: Readonly<Record<Operation, (ca: SigningCa, body: Body, state: ServiceState) => object>> = {
  IssueCertificate: issueCertificate,
  GetCertificate: getCertificate,
  DescribeCertificateAuthority: describe,
  GetCertificateAuthorityCertificate(ca, _body, { now }) {
    const at = ca.stateAt(now());
    if (!HAS_CERTIFICATE.includes(at)) {
      throw new AwsError(
        'InvalidStateException',
        `The certificate authority ${ca.arn} is not in the correct state to have a certificate signing request`,
      );
    }
    const chain = ca.issuers.length === 0 ? {} : { CertificateChain: toPem(ca.issuers) };
    return { Certificate: toPem([ca.certificate]), ...chain };
  },
};

function issueCertificate(ca: SigningCa, body: Body, state: ServiceState): object {
  const token = readToken(body.IdempotencyToken);
  const { IdempotencyToken: _token, ...parameters } = body;
  const asked = JSON.stringify(Object.entries(parameters).sort(([a], [b]) => (a < b ? -1 : 1)));
  const algorithm = readSigningAlgorithm(body.SigningAlgorithm, ca);
  const template = findTemplate(optionalText(body.TemplateArn, 'templateArn'), state.owner.partition);
  if (body.ApiPassthrough !== undefined && !template.takesApi) {
    // AWS ignores it then, which would hide the mistake until somebody looks at the certificate.
    throw new AwsError('InvalidArgsException', `ApiPassthrough needs an APIPassthrough template, not ${template.name}`);
  }
  const { csr, subjectDer, sans } = readCsr(body.Csr);
  const passthrough = readPassthrough(body.ApiPassthrough);
  if (ca.stateAt(state.now()) !== 'ACTIVE') {
    throw new AwsError(
      'InvalidStateException',
      'The certificate authority is not in a valid state for issuing certificates',
    );
  }
  const period = resolvePeriod(body.Validity, body.ValidityNotBefore, {
    now: state.now(),
    caNotAfter: ca.period.notAfter,
    usageMode: ca.usageMode,
  });
  const known = token === undefined ? undefined : state.issued.findByToken(ca, token, asked);
  if (known !== undefined) return { CertificateArn: known };

  const sanExtension = passthrough.sans ?? sans;
  const extensions = [
    ...(sanExtension === undefined ? [] : [sanExtension]),
    extension('basicConstraints', true, basicConstraints({ ca: false, pathLength: undefined })),
    extension('keyUsage', true, keyUsage('digitalSignature', 'keyEncipherment')),
    extension('extKeyUsage', false, sequence(...template.extendedKeyUsage.map(oid))),
  ];
  const content = {
    subjectDer: passthrough.subjectDer ?? subjectDer,
    spkiDer: csr.publicKey.spkiDer,
    period,
    extensions,
  };
  const { der, serialNumber, chain } = ca.sign(content, algorithm);
  const arn = `${ca.arn}/certificate/${serialNumber}`;
  const readyAtMs = state.monotonicMs() + state.readyAfterMs(state.issued.count);
  state.issued.add({ arn, der, chain, readyAtMs, failed: state.failIssuing });
  if (token !== undefined) state.issued.remember(ca, token, asked, arn);
  return { CertificateArn: arn };
}

function getCertificate(ca: SigningCa, body: Body, state: ServiceState): object {
  const arn = checkArn(body.CertificateArn, 'certificateArn', state.owner);
  if (!arn.startsWith(`${ca.arn}/certificate/`)) {
    throw new AwsError('InvalidArnException', `${arn} is not a certificate of ${ca.arn}`);
  }
  if (!HAS_CERTIFICATE.includes(ca.stateAt(state.now()))) {
    throw new AwsError(
      'InvalidStateException',
      `The certificate authority ${ca.arn} is not in the correct state to have issued certificates.`,
    );
  }
  const issued = state.issued.find(arn);
  if (issued === undefined) {
    throw new AwsError('ResourceNotFoundException', `Could not find issued certificate ${arn}`);
  }
  if (state.monotonicMs() < issued.readyAtMs) {
    throw new AwsError('RequestInProgressException', `The request to issue ${arn} is still in progress`);
  }
  if (issued.failed) throw new AwsError('RequestFailedException', `The request to issue ${arn} has failed`);
  return { Certificate: toPem([issued.der]), CertificateChain: toPem(issued.chain) };
}

function describe(ca: SigningCa, _body: Body, { owner, now }: ServiceState): object {
  const status = ca.stateAt(now());
  const seconds = (at: Date) => at.getTime() / 1000;
  const period = { NotBefore: seconds(ca.period.notBefore), NotAfter: seconds(ca.period.notAfter) };
  return {
    CertificateAuthority: {
      Arn: ca.arn,
      OwnerAccount: owner.account,
      CreatedAt: seconds(ca.createdAt),
      LastStateChangeAt: seconds(ca.createdAt),
      Type: ca.type,
      Status: status,
      ...(HAS_CERTIFICATE.includes(status) ? period : {}),
      ...(status === 'FAILED' ? { FailureReason: 'OTHER' } : {}),
      ...(status === 'DELETED' ? { RestorableUntil: seconds(now()) + RESTORABLE_DAYS * DAY_SECONDS } : {}),
      CertificateAuthorityConfiguration: {
        KeyAlgorithm: KEY_ALGORITHM[ca.keyType],
        SigningAlgorithm: KEY_FAMILY[ca.keyType] === 'ec' ? 'SHA256WITHECDSA' : 'SHA256WITHRSA',
        Subject: { CommonName: ca.name },
      },
      RevocationConfiguration: { CrlConfiguration: { Enabled: false }, OcspConfiguration: { Enabled: false } },
      KeyStorageSecurityStandard: 'FIPS_140_2_LEVEL_3_OR_HIGHER',
      UsageMode: ca.usageMode,
    },
  };
}

function readSigningAlgorithm(value: unknown, ca: SigningCa): string {
  const found = typeof value === 'string' ? SIGNING_ALGORITHMS[value] : undefined;
  if (typeof value !== 'string' || found === undefined) {
    const names = Object.keys(SIGNING_ALGORITHMS).join(', ');
    throw constraintError(value, 'signingAlgorithm', `Member must satisfy enum value set: [${names}]`);
  }
  if (found.family !== KEY_FAMILY[ca.keyType]) {
    throw new AwsError(
      'InvalidArgsException',
      `The signing algorithm ${value} does not fit the key algorithm ${KEY_ALGORITHM[ca.keyType]} of the certificate authority`,
    );
  }
  return value;
}

const MAX_TOKEN_LENGTH = 36;

function readToken(value: unknown): string | undefined {
  const token = optionalText(value, 'idempotencyToken');
  if (token === undefined || (token !== '' && token.length <= MAX_TOKEN_LENGTH)) return token;
  throw constraintError(token, 'idempotencyToken', `Member must have length less than or equal to ${MAX_TOKEN_LENGTH}`);
}

function optionalText(value: unknown, member: string): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'string') return value;
  throw new AwsError('SerializationException', `${member} is not a text`);
}

function toPem(ders: readonly Buffer[]): string {
  return ders
    .map((der) => encodePem('CERTIFICATE', der))
    .join('')
    .trim();
}
