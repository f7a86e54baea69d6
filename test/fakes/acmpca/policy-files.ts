import { readFile } from 'node:fs/promises';
import type { PolicyDocument } from './iam-policy.ts';

/** The CA that the files of policies/aws/ name, and an operator replaces. */
export const EXAMPLE_CA_ARN =
  'arn:aws:acm-pca:us-east-1:123456789012:certificate-authority/12345678-1234-1234-1234-123456789012';
const EXAMPLE_TEMPLATES = 'arn:aws:acm-pca:::template/';

export const POLICY_FILES = ['acmpca-issue', 'acmpca-issue-common-name', 'acmpca-read'] as const;
export type PolicyFile = (typeof POLICY_FILES)[number];

/** A document of policies/aws/ for this CA, made as its README says. */
export async function readPolicyFile(name: PolicyFile, caArn: string): Promise<PolicyDocument> {
  const text = await readFile(new URL(`../../../policies/aws/${name}.json`, import.meta.url), 'utf8');
  const templates = `arn:${caArn.split(':')[1]}:acm-pca:::template/`;
  return JSON.parse(text.replaceAll(EXAMPLE_CA_ARN, caArn).replaceAll(EXAMPLE_TEMPLATES, templates));
}
