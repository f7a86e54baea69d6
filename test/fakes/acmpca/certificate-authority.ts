import { randomUUID } from 'node:crypto';
import { basicConstraints, extension, keyUsage } from '../../../src/x509/extensions.ts';
import { generateKeyPair, type KeyPair } from '../../../src/x509/key-pair.ts';
import { createName } from '../../../src/x509/name.ts';
import type { Period } from './validity.ts';
import {
  type CertificateContent,
  type Signer,
  type WrittenCertificate,
  writeCertificate,
} from './write-certificate.ts';

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
  /** Default `ACTIVE`. An active CA whose certificate has ended counts as `EXPIRED`. */
  state: CaState;
  readonly name: string;
  readonly createdAt: Date;
  readonly period: Period;
  /** DER. */
  readonly certificate: Buffer;
  /** DER: what is above `certificate`, its issuer first, the root last. Empty for a root. */
  readonly issuers: readonly Buffer[];
  /** DER: the root that everything of this CA ends in. */
  readonly root: Buffer;
  /** True: certificates are for another key than asked. */
  wrongKey: boolean;
  /** True: certificates are signed by another key under the CA's name; the chain that comes along tells the true CA. */
  foreignSigner: boolean;
  /** True: certificates are signed by a root that is not the CA's, and GetCertificate tells that root as the chain. */
  foreignRoot: boolean;
  /** The same ARN with a new key and a new certificate, and, unless said otherwise, of the same kind. */
  replace(spec?: CaSpec): Promise<void>;
}

/** A CA with what only the server may use. */
export interface SigningCa extends FakeCa {
  /** @returns the certificate, and the chain that GetCertificate tells with it */
  sign(
    content: CertificateContent,
    signingAlgorithm: string,
  ): WrittenCertificate & { readonly chain: readonly Buffer[] };
  stateAt(now: Date): CaState;
}

const DAY_MS = 24 * 3_600_000;
const LIFE_DAYS = 3650;
const CA_EXTENSIONS = [
  extension('basicConstraints', true, basicConstraints({ ca: true, pathLength: undefined })),
  extension('keyUsage', true, keyUsage('digitalSignature', 'keyCertSign', 'cRLSign')),
];
const OWN_ALGORITHM: Readonly<Record<CaKeyType, string>> = {
  'EC-P256': 'SHA256WITHECDSA',
  'EC-P384': 'SHA384WITHECDSA',
  'RSA-2048': 'SHA256WITHRSA',
};

/** `arn:<partition>:acm-pca:<region>:<account>:certificate-authority` */
export async function createCa(arnPrefix: string, spec: CaSpec, now: () => Date): Promise<SigningCa> {
  let life = await createLife(spec, now());
  const strangerKey = await generateKeyPair('EC-P256');
  const ca: SigningCa = {
    arn: `${arnPrefix}/${randomUUID()}`,
    usageMode: spec.usageMode ?? 'GENERAL_PURPOSE',
    state: 'ACTIVE',
    createdAt: now(),
    wrongKey: false,
    foreignSigner: false,
    foreignRoot: false,
    get keyType() {
      return life.keyType;
    },
    get type() {
      return life.issuers.length === 0 ? 'ROOT' : 'SUBORDINATE';
    },
    get name() {
      return life.name;
    },
    get period() {
      return life.period;
    },
    get certificate() {
      return life.certificate;
    },
    get issuers() {
      return life.issuers;
    },
    get root() {
      return life.issuers.at(-1) ?? life.certificate;
    },
    async replace(changes = {}) {
      const { keyType, name } = life;
      life = await createLife({ keyType, name, type: ca.type === 'ROOT' ? 'root' : 'subordinate', ...changes }, now());
      if (changes.usageMode !== undefined) ca.usageMode = changes.usageMode;
    },
    stateAt: (at) => (ca.state === 'ACTIVE' && at.getTime() > life.period.notAfter.getTime() ? 'EXPIRED' : ca.state),
    sign(content, signingAlgorithm) {
      const wanted = ca.wrongKey ? { ...content, spkiDer: strangerKey.spkiDer } : content;
      const signer = ca.foreignRoot
        ? life.stranger.signer
        : ca.foreignSigner
          ? { ...life.signer, privateKey: life.strangerKey.privateKey }
          : life.signer;
      const chain = ca.foreignRoot ? [life.stranger.certificate] : [life.certificate, ...life.issuers];
      return { ...writeCertificate(wanted, signer, signingAlgorithm), chain };
    },
  };
  return ca;
}

/** What `replace` makes anew. */
interface CaLife {
  readonly keyType: CaKeyType;
  readonly name: string;
  readonly period: Period;
  readonly certificate: Buffer;
  readonly issuers: readonly Buffer[];
  readonly signer: Signer;
  /** A root that the CA has nothing to do with, and its key, of the same type. */
  readonly stranger: { readonly certificate: Buffer; readonly signer: Signer };
  readonly strangerKey: KeyPair;
}

async function createLife(spec: CaSpec, now: Date): Promise<CaLife> {
  const { keyType = 'EC-P256', type = 'root', name = `strict ${type}` } = spec;
  const period = {
    notBefore: spec.notBefore ?? new Date(now.getTime() - DAY_MS),
    notAfter: spec.notAfter ?? new Date(now.getTime() + LIFE_DAYS * DAY_MS),
  };
  const [key, strangerKey] = await Promise.all([generateKeyPair(keyType), generateKeyPair(keyType)]);
  const stranger = makeRoot('a stranger', strangerKey, OWN_ALGORITHM[keyType], period);
  const shared = { keyType, name, period, stranger, strangerKey };
  if (type === 'root') {
    const { certificate, signer } = makeRoot(name, key, OWN_ALGORITHM[keyType], period);
    return { ...shared, certificate, signer, issuers: [] };
  }
  const rootPeriod = { notBefore: period.notBefore, notAfter: new Date(period.notAfter.getTime() + DAY_MS) };
  const root = makeRoot(`${name} root`, await generateKeyPair('RSA-2048'), OWN_ALGORITHM['RSA-2048'], rootPeriod);
  const signer = signerOf(name, key);
  const content = { subjectDer: signer.nameDer, spkiDer: key.spkiDer, period, extensions: CA_EXTENSIONS };
  const { der } = writeCertificate(content, root.signer, OWN_ALGORITHM['RSA-2048']);
  return { ...shared, certificate: der, signer, issuers: [root.certificate] };
}

function makeRoot(
  name: string,
  key: KeyPair,
  algorithm: string,
  period: Period,
): { readonly certificate: Buffer; readonly signer: Signer } {
  const signer = signerOf(name, key);
  const content = { subjectDer: signer.nameDer, spkiDer: key.spkiDer, period, extensions: CA_EXTENSIONS };
  return { certificate: writeCertificate(content, signer, algorithm).der, signer };
}

function signerOf(name: string, key: KeyPair): Signer {
  return { nameDer: createName([['commonName', name]]), spkiDer: key.spkiDer, privateKey: key.privateKey };
}
