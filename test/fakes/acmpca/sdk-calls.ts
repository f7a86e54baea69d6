import {
  ACMPCAClient,
  GetCertificateCommand,
  IssueCertificateCommand,
  type IssueCertificateCommandInput,
} from '@aws-sdk/client-acm-pca';
import { onTestFinished } from 'vitest';
import { parseCertificate } from '../../../src/x509/certificate.ts';
import { type CsrSubject, createCsr } from '../../../src/x509/create-csr.ts';
import { decodePem, encodePem } from '../../../src/x509/pem.ts';
import { testKeyPair } from '../../conformance/issuer.ts';
import type { CaSpec, FakeCa } from './certificate-authority.ts';
import type { PolicyDocument } from './iam-policy.ts';
import { type StrictAcmPca, type StrictAcmPcaOptions, startStrictAcmPca } from './strict-acmpca.ts';
import type { FakeUser } from './users.ts';

export const NAMES: CsrSubject = { uriSans: ['spiffe://default/web'], dnsNames: [], commonName: '' };
export const SHORT_LIVED: CaSpec = { usageMode: 'SHORT_LIVED_CERTIFICATE', notAfter: new Date('2036-01-01T00:00:00Z') };
export const EVERYTHING: readonly PolicyDocument[] = [
  { Version: '2012-10-17', Statement: [{ Effect: 'Allow', Action: 'acm-pca:*', Resource: '*' }] },
];

/** A fake that ends with the test. */
export async function startPca(options: StrictAcmPcaOptions = {}): Promise<StrictAcmPca> {
  const pca = await startStrictAcmPca(options);
  onTestFinished(() => pca.close());
  return pca;
}

/** The real SDK, without its own retries. */
export function clientOf(pca: StrictAcmPca, user: FakeUser = pca.user, changes: object = {}): ACMPCAClient {
  const { accessKeyId, secretAccessKey, sessionToken } = user;
  const client = new ACMPCAClient({
    region: pca.region,
    endpoint: pca.endpoint,
    credentials: { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) },
    maxAttempts: 1,
    ...changes,
  });
  onTestFinished(() => client.destroy());
  return client;
}

export async function csrPem(names = NAMES, keyType: Parameters<typeof testKeyPair>[0] = 'EC-P256'): Promise<Buffer> {
  return Buffer.from(encodePem('CERTIFICATE REQUEST', createCsr(await testKeyPair(keyType), names)));
}

export async function order(
  ca: FakeCa,
  changes: Partial<IssueCertificateCommandInput> = {},
): Promise<IssueCertificateCommandInput> {
  return {
    CertificateAuthorityArn: ca.arn,
    Csr: await csrPem(),
    SigningAlgorithm: ca.keyType === 'RSA-2048' ? 'SHA256WITHRSA' : 'SHA256WITHECDSA',
    TemplateArn: 'arn:aws:acm-pca:::template/EndEntityCertificate/V1',
    Validity: { Type: 'DAYS', Value: 1 },
    ...changes,
  };
}

export interface Fetched {
  readonly arn: string;
  readonly leaf: ReturnType<typeof parseCertificate>;
  readonly chain: readonly Buffer[];
}

export async function fetchIssued(client: ACMPCAClient, ca: FakeCa, arn: string | undefined): Promise<Fetched> {
  const answer = await client.send(new GetCertificateCommand({ CertificateAuthorityArn: ca.arn, CertificateArn: arn }));
  const [leaf] = decodePem(answer.Certificate ?? '');
  const chain = decodePem(answer.CertificateChain ?? '').map(({ der }) => der);
  return { arn: arn ?? '', leaf: parseCertificate(leaf?.der ?? Buffer.alloc(0)), chain };
}

export async function issue(
  pca: StrictAcmPca,
  changes: Partial<IssueCertificateCommandInput> = {},
  ca: FakeCa = pca.ca,
): Promise<Fetched> {
  const client = clientOf(pca);
  const { CertificateArn } = await client.send(new IssueCertificateCommand(await order(ca, changes)));
  return fetchIssued(client, ca, CertificateArn);
}

/** Name and text of the exception, as the SDK tells them. */
export async function refusal(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'no error',
    (error: unknown) => (error instanceof Error ? `${error.name}: ${error.message}` : String(error)),
  );
}
export const issueRefusal = async (pca: StrictAcmPca, changes: Partial<IssueCertificateCommandInput>, ca = pca.ca) =>
  refusal(issue(pca, changes, ca));
