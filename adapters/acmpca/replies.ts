import { z } from 'zod';

const PEM_MAX = 256 * 1024;
const pem = z.string().min(1).max(PEM_MAX);

export const issueReply = z.object({
  /** ARN of the certificate that is being made. */
  CertificateArn: z
    .string()
    .max(300)
    .regex(/^arn:[!-~]+:certificate-authority\/[!-~]+\/certificate\/[!-~]+$/),
});

/** `CertificateChain`: the leaf's issuer first, the root last. */
export const certificateReply = z.object({ Certificate: pem, CertificateChain: pem.nullish() });

const CA_STATES = ['CREATING', 'PENDING_CERTIFICATE', 'ACTIVE', 'DISABLED', 'DELETED', 'EXPIRED', 'FAILED'] as const;
export type CaState = (typeof CA_STATES)[number];

/** What of a CA's description this adapter acts on. */
export const describeReply = z.object({
  CertificateAuthority: z.object({
    Status: z.enum(CA_STATES),
    FailureReason: z
      .string()
      .max(100)
      .regex(/^[A-Z_]+$/)
      .nullish(),
    NotBefore: z.date().nullish(),
    NotAfter: z.date().nullish(),
    CertificateAuthorityConfiguration: z.object({ KeyAlgorithm: z.string().max(64) }).nullish(),
    UsageMode: z.string().max(64).nullish(),
  }),
});

export type CertificateReply = z.output<typeof certificateReply>;
export type CaDescription = z.output<typeof describeReply>['CertificateAuthority'];
