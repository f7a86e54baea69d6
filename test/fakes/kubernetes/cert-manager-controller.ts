import type { CertificateRequest } from './certificate-request.ts';
import type { TestCluster } from './test-cluster.ts';

/** What becomes of one request. */
export type Outcome =
  | 'issue'
  /** Ready=False, reason Failed, with failureTime. */
  | 'fail'
  /** Denied=True, then Ready=False, reason Denied. */
  | 'deny'
  /** InvalidRequest=True, then Ready=False, reason Failed. */
  | 'invalid'
  /** Never approved: no condition at all. */
  | 'ignore'
  /** Approved, Ready=False, reason Pending, for ever. */
  | 'pending'
  /** Issued for another key. */
  | 'wrong-key'
  /** Issued by a CA that `status.ca` and the chain do not tell. */
  | 'foreign-root'
  /** Issued by a CA whose time is over. */
  | 'expired-ca'
  /** Issued, and `status.ca` is empty, as external issuers do. */
  | 'no-ca'
  /** Issued; `status.certificate` tells leaf, root, intermediate. */
  | 'odd-order'
  /** Issued; `status.certificate` is no PEM. */
  | 'garbage';

export interface CertManagerControllerOptions {
  readonly cluster: TestCluster;
  /** Asked for each new request. Default: every request is issued. */
  readonly outcome?: (request: CertificateRequest) => Outcome;
  /** Requests it finishes in a second; a stock cert-manager manages about 7. Default: as many as it can. */
  readonly perSecond?: number;
  /** Between approval and the certificate. Default 0. */
  readonly delayMs?: number;
  /** The issuer that exists. Default `mesh-ca-issuer`, an `Issuer` of cert-manager.io. Requests for others stay pending, as cert-manager leaves them. */
  readonly issuer?: { readonly name: string; readonly kind?: string; readonly group?: string };
  /** Default: the real time. */
  readonly now?: () => Date;
}

export interface CertManagerController {
  /** PEM. */
  readonly rootPem: string;
  readonly intermediatePem: string;
  /** Certificates it has issued. */
  readonly issued: number;
  /** May be changed at any time; counts for requests that come later. */
  outcome: (request: CertificateRequest) => Outcome;
  /** A new root and a new intermediate from now on. */
  rotateCa(): Promise<void>;
  /** Pauses: nothing is approved or issued until `resume`. */
  pause(): void;
  resume(): void;
  /** Idempotent. Ends its watch and connections. */
  close(): Promise<void>;
}

export const TEST_ISSUER = 'mesh-ca-issuer';

/** Plays cert-manager: its approver and one CA issuer (an EC P-256 intermediate under a root). It talks to the cluster over its public API alone. */
export async function startCertManagerController(
  _options: CertManagerControllerOptions,
): Promise<CertManagerController> {
  throw new Error('being built');
}
