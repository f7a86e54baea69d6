export type CaKeyType = 'EC-P256' | 'EC-P384' | 'RSA-2048';
export const CA_STATES = [
  'CREATING',
  'PENDING_CERTIFICATE',
  'ACTIVE',
  'DELETED',
  'DISABLED',
  'EXPIRED',
  'FAILED',
] as const;
export type CaState = (typeof CA_STATES)[number];
export type UsageMode = 'GENERAL_PURPOSE' | 'SHORT_LIVED_CERTIFICATE';

export interface CaSpec {
  /** Default `EC-P256`. */
  readonly keyType?: CaKeyType;
  /** `subordinate`: signed by an RSA-2048 root of its own. Default `root`. */
  readonly type?: 'root' | 'subordinate';
  /** Common name. Default `strict root` or `strict subordinate`. */
  readonly name?: string;
  /** Default: a day ago, and in ten years. */
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  /** Default `GENERAL_PURPOSE`. */
  readonly usageMode?: UsageMode;
}

/** One private CA. Its members are switches that a test may turn at any time. */
export interface FakeCa {
  readonly arn: string;
  readonly keyType: CaKeyType;
  readonly type: 'ROOT' | 'SUBORDINATE';
  usageMode: UsageMode;
  /** Default `ACTIVE`. */
  state: CaState;
  /** DER. */
  readonly certificate: Buffer;
  /** DER: what is above `certificate`, its issuer first, the root last. Empty for a root. */
  readonly issuers: readonly Buffer[];
  /** DER: the root that everything of this CA ends in. */
  readonly root: Buffer;
  /** True: certificates are for another key than asked. */
  wrongKey: boolean;
  /** True: certificates are signed by a CA that looks the same but has another key, and the chain tells the true one. */
  foreignSigner: boolean;
  /** True: GetCertificate tells a chain that ends in a root that is not the CA's, and signs with it. */
  foreignRoot: boolean;
  /** The same ARN with a new key and a new certificate, and, unless said otherwise, of the same kind. */
  replace(spec?: CaSpec): Promise<void>;
}
