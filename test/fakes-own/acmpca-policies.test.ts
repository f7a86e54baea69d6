import { readdirSync, readFileSync } from 'node:fs';
import {
  ACMPCAClient,
  DescribeCertificateAuthorityCommand,
  GetCertificateAuthorityCertificateCommand,
  GetCertificateCommand,
  IssueCertificateCommand,
} from '@aws-sdk/client-acm-pca';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createCsr } from '../../src/x509/create-csr.ts';
import { encodePem } from '../../src/x509/pem.ts';
import { testKeyPair } from '../conformance/issuer.ts';
import { OPERATIONS, type Operation } from '../fakes/acmpca/calls.ts';
import { evaluatePolicies, type PolicyDocument } from '../fakes/acmpca/iam-policy.ts';
import { EXAMPLE_CA_ARN, POLICY_FILES, type PolicyFile, readPolicyFile } from '../fakes/acmpca/policy-files.ts';
import { type StrictAcmPca, startStrictAcmPca } from '../fakes/acmpca/strict-acmpca.ts';

const FOLDER = new URL('../../policies/aws/', import.meta.url);
const END_ENTITY = 'arn:aws:acm-pca:::template/EndEntityCertificate/V1';
const WITH_NAMES = 'arn:aws:acm-pca:::template/EndEntityCertificate_APIPassthrough/V1';
const READS: readonly Operation[] = ['DescribeCertificateAuthority', 'GetCertificateAuthorityCertificate'];

/** What each file is for: the template that it issues with, and the operations that it allows. */
const FILES: Readonly<Record<PolicyFile, { template: string; allows: readonly Operation[] }>> = {
  'acmpca-issue': { template: END_ENTITY, allows: OPERATIONS },
  'acmpca-issue-common-name': { template: WITH_NAMES, allows: OPERATIONS },
  'acmpca-read': { template: END_ENTITY, allows: READS },
};

let pca: StrictAcmPca;
beforeAll(async () => {
  pca = await startStrictAcmPca();
});
afterAll(() => pca?.close());

/** Every operation once, as a user with these policies: those that IAM refuses. */
async function denied(policies: readonly PolicyDocument[], template: string, ca = pca.ca): Promise<string[]> {
  const { accessKeyId, secretAccessKey } = pca.createUser({ policies });
  const client = new ACMPCAClient({
    region: pca.region,
    endpoint: pca.endpoint,
    credentials: { accessKeyId, secretAccessKey },
    maxAttempts: 1,
  });
  const authority = { CertificateAuthorityArn: ca.arn };
  const csr = createCsr(await testKeyPair('EC-P256'), {
    uriSans: ['spiffe://default/web'],
    dnsNames: [],
    commonName: '',
  });
  const calls: Readonly<Record<Operation, () => Promise<unknown>>> = {
    IssueCertificate: () =>
      client.send(
        new IssueCertificateCommand({
          ...authority,
          Csr: Buffer.from(encodePem('CERTIFICATE REQUEST', csr)),
          SigningAlgorithm: 'SHA256WITHECDSA',
          TemplateArn: template,
          Validity: { Type: 'DAYS', Value: 1 },
        }),
      ),
    GetCertificate: () =>
      client.send(new GetCertificateCommand({ ...authority, CertificateArn: `${ca.arn}/certificate/5a` })),
    DescribeCertificateAuthority: () => client.send(new DescribeCertificateAuthorityCommand(authority)),
    GetCertificateAuthorityCertificate: () => client.send(new GetCertificateAuthorityCertificateCommand(authority)),
  };
  const refused: string[] = [];
  for (const operation of OPERATIONS) {
    await calls[operation]().catch((error: Error) => {
      if (error.name === 'AccessDeniedException') refused.push(operation);
      else if (error.name !== 'ResourceNotFoundException') throw error;
    });
  }
  client.destroy();
  return refused;
}

const without = (allows: readonly Operation[]) => OPERATIONS.filter((operation) => !allows.includes(operation));

describe.each(POLICY_FILES)('policies/aws/%s.json', (name) => {
  const { template, allows } = FILES[name];

  it('allows what it is for, on its CA and no other', async () => {
    const policy = await readPolicyFile(name, pca.ca.arn);
    expect(await denied([policy], template)).toEqual(without(allows));
    expect(await denied([policy], template, await pca.createCa())).toEqual(OPERATIONS);
  });

  it('allows each action by one statement: without it exactly that call is refused', async () => {
    const policy = await readPolicyFile(name, pca.ca.arn);
    expect(policy.Statement).toHaveLength(allows.length);
    for (const statement of policy.Statement) {
      const rest = { ...policy, Statement: policy.Statement.filter((one) => one !== statement) };
      const missing = String(statement.Action).replace('acm-pca:', '');
      expect(await denied([rest], template)).toEqual(without(allows.filter((operation) => operation !== missing)));
    }
  });

  it('lets nobody make a CA, or use another template than its own', async () => {
    const policy = await readPolicyFile(name, pca.ca.arn);
    const templates = [END_ENTITY, WITH_NAMES].filter((one) => one !== template);
    for (const other of [...templates, 'arn:aws:acm-pca:::template/SubordinateCACertificate_PathLen0/V1']) {
      expect(await denied([policy], other)).toContain('IssueCertificate');
    }
  });
});

describe('the folder policies/aws', () => {
  it('holds the files of this test, a README that names them and all their statements, and no account of anybody', () => {
    const readme = readFileSync(new URL('README.md', FOLDER), 'utf8');
    const files = readdirSync(FOLDER).filter((file) => file.endsWith('.json'));
    expect(files.sort()).toEqual(POLICY_FILES.map((name) => `${name}.json`).sort());
    for (const file of files) {
      const document: PolicyDocument = JSON.parse(readFileSync(new URL(file, FOLDER), 'utf8'));
      expect(readme).toContain(`\`${file}\``);
      for (const { Sid, Resource } of document.Statement) {
        expect(readme).toContain(`\`${Sid}\``);
        expect(Resource).toBe(EXAMPLE_CA_ARN);
      }
    }
    expect(readme).toContain(EXAMPLE_CA_ARN);
  });
});

describe('how policies are read', () => {
  const request = { action: 'acm-pca:GetCertificate', resource: 'arn:x/1', context: { key: 'abc' } };
  const allow = { Effect: 'Allow', Action: 'acm-pca:*', Resource: '*' } as const;
  const CASES: readonly (readonly [string, PolicyDocument['Statement'], string])[] = [
    ['no statement', [], 'no-allow'],
    ['a wildcard', [allow], 'allowed'],
    ['an action in any case', [{ ...allow, Action: 'ACM-PCA:getcertificate' }], 'allowed'],
    ['a resource in its own case only', [{ ...allow, Resource: 'ARN:*' }], 'no-allow'],
    ['a list', [{ ...allow, Action: ['s3:*', 'acm-pca:Get?ertificate'] }], 'allowed'],
    ['a deny beside an allow', [allow, { ...allow, Effect: 'Deny' }], 'explicit-deny'],
    ['a condition that holds', [{ ...allow, Condition: { StringLike: { key: 'a*' } } }], 'allowed'],
    ['a condition that does not', [{ ...allow, Condition: { StringEquals: { key: 'a*' } } }], 'no-allow'],
    ['a condition on what is not there', [{ ...allow, Condition: { StringLike: { other: '*' } } }], 'no-allow'],
    [
      'a deny of all but one',
      [allow, { ...allow, Effect: 'Deny', Condition: { StringNotLike: { key: 'b*' } } }],
      'explicit-deny',
    ],
    ['dots that are only dots', [{ ...allow, Resource: 'arn.x/1' }], 'no-allow'],
  ];
  it.each(CASES)('%s', (_name, Statement, decision) => {
    expect(evaluatePolicies([{ Version: '2012-10-17', Statement }], request)).toBe(decision);
  });

  it('refuses to guess what an unknown operator means', () => {
    const Statement = [{ ...allow, Condition: { NumericLessThan: { key: '1' } } }];
    expect(() => evaluatePolicies([{ Version: '2012-10-17', Statement }], request)).toThrow(/NumericLessThan/);
  });
});
