import type { ErrorCode } from '../issuer/errors.ts';
import type { Tags } from '../issuer/issuer.ts';
import type { TrustBundle } from '../trust/trust-bundle.ts';

/** What a control plane asks for one data plane. */
export interface CertificateRequest {
  readonly mesh: string;
  readonly dataplane: string;
  /** Absent: those of the Dataplane resource. */
  readonly tags?: Tags;
  /** PKCS#10. Only its key is used, after its signature was checked. Absent: a key pair is made. */
  readonly csrPem?: string;
  /** The leaf that the proxy holds, optionally followed by its chain. */
  readonly currentPem?: string;
  /** The same from a caller in this process, which does not need to write PEM that is read again: DER, leaf first. */
  readonly currentDer?: readonly Buffer[];
  /** Issue even when what there is stands. */
  readonly force?: boolean;
}

/** `issued` is new; `reused` was stored; `kept` is the caller's own; `stale` is due, but its backend fails. */
export type Outcome = 'issued' | 'reused' | 'kept' | 'stale';

export interface CertificateAnswer {
  readonly mesh: string;
  readonly dataplane: string;
  readonly backend: string;
  readonly type: string;
  readonly outcome: Outcome;
  /** DER. */
  readonly leaf: Buffer;
  /** DER, the leaf's issuer first, without root. */
  readonly chain: readonly Buffer[];
  /** SHA-256 (hex) of the roots that the chain ends in. */
  readonly rootHashes: readonly string[];
  /** PKCS#8 DER; only when the key was made here or by the backend. Never stored. */
  readonly privateKeyDer?: Buffer;
  /** Lower-case hex. */
  readonly serialNumber: string;
  readonly uriSans: readonly string[];
  readonly commonName: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly renewAt: Date;
  readonly bundle: TrustBundle;
  /** Present when `outcome` is `stale`. */
  readonly stale?: StaleReason;
}

/** Why an older certificate is served. */
export interface StaleReason {
  /** When to ask again. */
  readonly retryAfterMs: number;
  /** What is left of the certificate. */
  readonly validForMs: number;
  /** Of the backend. */
  readonly breaker: 'closed' | 'half-open' | 'open';
  /** The failure of the backend. */
  readonly cause: { readonly code: ErrorCode; readonly message: string };
}

/** What a CSR for a data plane should carry. */
export interface IdentityAnswer {
  readonly uriSans: readonly string[];
  readonly dnsNames: readonly string[];
  readonly commonName: string;
  readonly signsCsrAsIs: boolean;
  readonly keyTypes: readonly string[];
}
