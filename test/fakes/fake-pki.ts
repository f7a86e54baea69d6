import { createHash, randomBytes } from 'node:crypto';
import { type Certificate, parseCertificate } from '../../src/x509/certificate.ts';
import { type Csr, parseCsr } from '../../src/x509/csr.ts';
import { generateKeyPair, loadPrivateKey } from '../../src/x509/key-pair.ts';
import { createLeafSigner } from '../../src/x509/leaf-signer.ts';
import { decodePem, encodePem } from '../../src/x509/pem.ts';
import { makeCa } from '../conformance/make-ca.ts';
import { type Answer, errors } from './fake-vault.ts';

/** How the answers of `sign` and `issue`, and the mount, tell the CA certificates. */
export interface ChainStyle {
  /** `ca_chain` of an issued certificate. */
  readonly caChain: (parts: ChainParts) => readonly string[] | null | undefined;
  /** Whether `issuing_ca` is there. */
  readonly issuingCa: boolean;
  /** What `cert/ca_chain` tells. */
  readonly mountChain: (parts: Omit<ChainParts, 'leaf'>) => readonly string[];
}
interface ChainParts {
  readonly leaf: string;
  readonly intermediate: string;
  readonly root: string;
}

/** As Vault tells it; what is left out has Vault's default. */
export interface FakeRole {
  key_type: 'rsa' | 'ec' | 'any' | 'ed25519';
  key_bits: number;
  use_csr_sans: boolean;
  use_csr_common_name: boolean;
  issuer_ref?: string;
  allowed_uri_sans?: readonly string[];
  require_cn?: boolean;
  [parameter: string]: unknown;
}

/** What most tests want: all keys, the names of mesh `default`. */
const ROLE: FakeRole = {
  ...{ key_type: 'any', key_bits: 0, use_csr_sans: true, use_csr_common_name: true },
  ...{ allowed_uri_sans: ['spiffe://default/*', 'kuma://*'], require_cn: false },
  ...{ no_store: true, max_ttl: 720 * 3600, allowed_domains: ['mesh'], allow_subdomains: true },
};

export interface FakePki {
  readonly mount: string;
  readonly roleName: string;
  role: FakeRole | undefined;
  style: ChainStyle;
  /** How many certificates it has issued. */
  issuedCount: number;
  /** Issue for another key than asked. */
  wrongKey: boolean;
  /** Sign with a CA that the chain does not tell, under the same name. */
  foreignCa: boolean;
  /** Sign with a CA that has ended, and tell it. */
  signsAs: 'own' | 'ended';
  /** How long before now certificates start. */
  notBeforeMs: number;
  /** PEM of CAs that the mount tells beside those of `style.mountChain`. */
  moreIssuers: readonly string[];
  /** `max_lease_ttl` of the mount. */
  maxLeaseSeconds: number;
  /** What `issuer/default` says beside its certificate, to who may read it. */
  issuer: Readonly<Record<string, unknown>>;
  /** Changes what the list says of the default issuer. */
  listed: Readonly<Record<string, unknown>>;
  /** False: as Vault before 1.11, which has no such paths. */
  listsIssuers: boolean;
  /** Of PEM: what the mount is made of. */
  readonly root: string;
  readonly intermediate: string;
  /** What everybody may read. Undefined: not one of those paths. */
  tell(path: string): Answer | undefined;
  /** What takes a right. Undefined: no such path. */
  answer(method: string, path: string, body: Readonly<Record<string, unknown>>): Answer | undefined;
}

export const NORMAL_CHAIN: ChainStyle = {
  caChain: ({ intermediate, root }) => [intermediate, root],
  issuingCa: true,
  mountChain: ({ intermediate, root }) => [intermediate, root],
};

const MAX_TTL_SECONDS = 720 * 3600;

/** What all fakes of a test file sign with: to make it takes longer than most tests. */
let material: ReturnType<typeof makeMaterial> | undefined;
async function makeMaterial() {
  const rootCa = await makeCa({ name: 'fake root' });
  const [intermediateCa, foreignCa, endedCa, otherKey, issuedKey] = await Promise.all([
    makeCa({ name: 'fake intermediate', issuer: rootCa }),
    makeCa({ name: 'fake intermediate' }),
    makeCa({ name: 'ended root', fromDay: -100, toDay: -10 }),
    generateKeyPair('EC-P256'),
    generateKeyPair('EC-P256'),
  ]);
  return { rootCa, intermediateCa, foreignCa, endedCa, otherKey, issuedKey };
}

export async function createFakePki(now: () => Date): Promise<FakePki> {
  material ??= makeMaterial();
  const { rootCa, intermediateCa, foreignCa, endedCa, otherKey, issuedKey } = await material;
  const signerOf = (ca: typeof intermediateCa) => {
    const certificate = firstCertificate(ca.certPem);
    return createLeafSigner({ certificate, privateKey: loadPrivateKey(ca.keyPem) });
  };
  const signers = { own: signerOf(intermediateCa), foreign: signerOf(foreignCa), ended: signerOf(endedCa) };
  const cas = { intermediate: intermediateCa.certPem, root: rootCa.certPem };

  const pki: FakePki = {
    mount: 'kmesh-pki-default',
    roleName: 'dataplane-proxies',
    role: ROLE,
    moreIssuers: [],
    listsIssuers: true,
    maxLeaseSeconds: 87_600 * 3600,
    issuer: { usage: 'read-only,issuing-certificates,crl-signing', revoked: false },
    listed: {},
    signsAs: 'own',
    notBeforeMs: 30_000,
    style: NORMAL_CHAIN,
    issuedCount: 0,
    wrongKey: false,
    foreignCa: false,
    ...cas,
    tell(path) {
      const isPublic = path.startsWith(`${pki.mount}/issuers`) || path.endsWith('/json');
      if (pki.listsIssuers && isPublic) return tellIssuers(path);
      if (path !== `${pki.mount}/cert/ca_chain` && path !== `${pki.mount}/cert/ca`) return undefined;
      const chain = path.endsWith('/ca') ? [cas.intermediate] : pki.style.mountChain(cas);
      return { status: 200, body: { data: { certificate: chain.join('\n'), ca_chain: chain.join('\n') } } };
    },
    answer(method, path, body) {
      const role = pki.role;
      const at = (verb: string) => path === `${pki.mount}/${verb}/${pki.roleName}`;
      if (method === 'GET' && path === `${pki.mount}/roles?list=true`)
        return role === undefined ? errors(404) : { status: 200, body: { data: { keys: [pki.roleName] } } };
      if (method === 'GET' && path.startsWith(`${pki.mount}/issuer/`))
        return { status: 200, body: { data: pki.issuer } };
      if (method === 'GET' && at('roles'))
        return role === undefined ? errors(404) : { status: 200, body: { data: role } };
      if (method !== 'POST' || !(at('sign') || at('issue'))) return undefined;
      if (role === undefined) return errors(400, `unknown role: ${pki.roleName}`);
      return at('sign') ? sign(role, body) : issue(body);
    },
  };

  function tellIssuers(path: string): Answer | undefined {
    const issuers = new Map(
      [...pki.style.mountChain(cas), ...pki.moreIssuers].map((pem) => [
        createHash('sha256').update(pem).digest('hex').slice(0, 32),
        pem,
      ]),
    );
    if (path === `${pki.mount}/issuers?list=true`) {
      const [first] = issuers.keys();
      const info = [...issuers.keys()].map((id) => [
        id,
        { issuer_name: '', is_default: id === first, key_id: id === first ? 'k' : '', ...(id === first && pki.listed) },
      ]);
      const data = { keys: [...issuers.keys()], key_info: Object.fromEntries(info) };
      return issuers.size === 0 ? errors(404) : { status: 200, body: { data } };
    }
    const [, id = ''] = /\/issuer\/([^/]+)\/json$/.exec(path) ?? [];
    const pem = issuers.get(id);
    return pem === undefined ? errors(404) : { status: 200, body: { data: { certificate: pem, ca_chain: [pem] } } };
  }

  function sign(role: FakeRole, body: Readonly<Record<string, unknown>>): Answer {
    if (typeof body.csr !== 'string') return errors(400, '"csr" is empty');
    const [block] = decodePem(body.csr);
    const csr: Csr = parseCsr(block?.der ?? Buffer.alloc(0));
    const family = csr.publicKey.type.startsWith('EC') ? 'ec' : 'rsa';
    if (role.key_type !== 'any' && role.key_type !== family) {
      return errors(400, `role requires keys of type ${role.key_type}`);
    }
    const uriSans = role.use_csr_sans ? csr.uriSans : list(body.uri_sans);
    const commonName =
      role.use_csr_common_name && csr.commonName !== '' ? csr.commonName : String(body.common_name ?? '');
    return certify(csr.publicKey.spkiDer, uriSans, commonName, body);
  }

  function issue(body: Readonly<Record<string, unknown>>): Answer {
    const privateKey = encodePem('PRIVATE KEY', issuedKey.pkcs8Der);
    return certify(issuedKey.spkiDer, list(body.uri_sans), String(body.common_name ?? ''), body, privateKey);
  }

  function certify(
    spkiDer: Buffer,
    uriSans: readonly string[],
    commonName: string,
    body: Readonly<Record<string, unknown>>,
    privateKey?: string,
  ): Answer {
    if (!uriSans.every((san) => san.startsWith('spiffe://default/') || san.startsWith('kuma://'))) {
      return errors(400, 'URI Subject Alternative Names were provided via the API which are not valid for this role');
    }
    if (commonName !== '' && !commonName.endsWith('.mesh'))
      return errors(400, `common name ${commonName} not allowed by this role`);
    const ttlSeconds = Math.min(Number.parseInt(String(body.ttl), 10), MAX_TTL_SECONDS);
    if (Number.isNaN(ttlSeconds)) return errors(400, 'Field validation failed: error converting input for field "ttl"');
    pki.issuedCount += 1;
    const der = signers[pki.foreignCa ? 'foreign' : pki.signsAs].sign({
      spkiDer: pki.wrongKey ? otherKey.spkiDer : spkiDer,
      uriSans,
      dnsNames: commonName === '' || body.exclude_cn_from_sans === true ? [] : [commonName],
      commonName,
      notBefore: new Date(now().getTime() - pki.notBeforeMs),
      notAfter: new Date(now().getTime() + ttlSeconds * 1000),
      serialNumber: Buffer.concat([Buffer.of(1), randomBytes(15)]),
    });
    if (!Buffer.isBuffer(der)) throw new TypeError('the test CA has an EC key and signs at once');
    const leaf = encodePem('CERTIFICATE', der);
    const caChain = pki.signsAs === 'ended' ? [endedCa.certPem] : pki.style.caChain({ leaf, ...cas });
    return {
      status: 200,
      body: {
        data: {
          certificate: leaf,
          ...(pki.style.issuingCa ? { issuing_ca: cas.intermediate } : {}),
          ...(caChain === undefined ? {} : { ca_chain: caChain }),
          ...(privateKey === undefined ? {} : { private_key: privateKey, private_key_type: 'ec' }),
        },
      },
    };
  }

  return pki;
}

function list(value: unknown): string[] {
  return Array.isArray(value) ? value.map(String) : [];
}

function firstCertificate(pem: string): Certificate {
  const [block] = decodePem(pem);
  return parseCertificate(block?.der ?? Buffer.alloc(0));
}
