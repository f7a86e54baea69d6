import type { Backend } from '../backends/backend.ts';
import { ConfigError, NotSupportedError, RequestInvalidError } from '../issuer/errors.ts';
import type { CallOptions, Identity, IssuedCertificate, IssuerAbilities, SignRequest } from '../issuer/issuer.ts';
import type { Random } from '../runtime/random.ts';
import { createCsr } from '../x509/create-csr.ts';
import type { Csr } from '../x509/csr.ts';
import type { KeyPair } from '../x509/key-pair.ts';
import type { KeyType } from '../x509/subject-public-key.ts';
import { spkiOfPrivateKey } from './make-key.ts';
import { checkCsrFits } from './read-csr.ts';

export interface Asked {
  readonly backend: Backend;
  readonly identity: Identity;
  /** Undefined: a key pair has to be made. */
  readonly csr: Csr | undefined;
  /** Absent: what the backend's conf says. */
  readonly ttlSeconds?: number;
}

export interface AskOptions {
  readonly makeKey: (type: KeyType) => Promise<KeyPair>;
  /** Type of a key made here; another is taken where the backend does not sign this one. */
  readonly keyType: KeyType;
  readonly random: Random;
}

export interface BackendAnswer {
  readonly issued: IssuedCertificate;
  /** Key that the certificate has to be for. */
  readonly spkiDer: Buffer;
  /** PKCS#8; only when the key was made for this request. */
  readonly privateKeyDer?: Buffer;
}

/**
 * One call to the backend: with the caller's CSR, with a key made here, or with one that the backend makes.
 * @throws NotSupportedError, RequestInvalidError when the CSR is not for this backend; every error of the issuer contract
 */
export async function askBackend(asked: Asked, options: AskOptions, call: CallOptions): Promise<BackendAnswer> {
  const { backend, identity, csr } = asked;
  const abilities = await backend.call('abilities', (issuer, inner) => issuer.abilities(inner), call);
  const { ttlSeconds = backend.ttlSeconds } = asked;
  const common = { identity, ttlSeconds, requestId: options.random.bytes(16).toString('hex') };
  const sign = (request: SignRequest) => backend.call('sign', (issuer, inner) => issuer.sign(request, inner), call);
  if (csr !== undefined) {
    if (!abilities.sign) throw cannotSign(backend);
    checkCsrFits(csr, identity, abilities, identity.dataplane);
    const { spkiDer } = csr.publicKey;
    return { issued: await sign({ ...common, csrDer: csr.der, spkiDer }), spkiDer };
  }
  if (!abilities.sign) {
    const issued = await backend.issueKeyPair(common, call);
    return { issued, spkiDer: spkiOfPrivateKey(issued.privateKeyDer), privateKeyDer: issued.privateKeyDer };
  }
  const withKeyOf = async (keyType: KeyType): Promise<BackendAnswer> => {
    const keyPair = await options.makeKey(keyType);
    const { spkiDer, pkcs8Der } = keyPair;
    return { issued: await sign(requestFor(keyPair, common)), spkiDer, privateKeyDer: pkcs8Der };
  };
  const keyType = chooseKeyType(abilities, options.keyType, backend);
  try {
    return await withKeyOf(keyType);
  } catch (error) {
    if (!(error instanceof RequestInvalidError)) throw error;
    // A Vault role that cannot be read tells its key type only by refusing another: what was learnt from that is worth one more call.
    const learnt = await backend.call('abilities', (issuer, inner) => issuer.abilities(inner), call);
    const better = learnt.sign ? chooseKeyType(learnt, options.keyType, backend) : keyType;
    if (better === keyType) throw error;
    return withKeyOf(better);
  }
}

/** A CA in this process needs no CSR, and to import the key and to sign with it costs more than the certificate: it is made when it is read. */
function requestFor(keyPair: KeyPair, common: Omit<SignRequest, 'csrDer' | 'spkiDer'>): SignRequest {
  let csrDer: Buffer | undefined;
  return {
    ...common,
    spkiDer: keyPair.spkiDer,
    get csrDer() {
      csrDer ??= createCsr(keyPair, common.identity);
      return csrDer;
    },
  };
}

function chooseKeyType({ keyTypes }: IssuerAbilities, preferred: KeyType, backend: Backend): KeyType {
  const keyType = keyTypes.includes(preferred) ? preferred : keyTypes[0];
  if (keyType === undefined) throw new ConfigError(`backend "${backend.name}" signs no key type that mesh-ca makes`);
  return keyType;
}

function cannotSign(backend: Backend): NotSupportedError {
  return new NotSupportedError(
    `backend "${backend.name}" has no right to sign a CSR, it can only make key and certificate itself`,
    { fix: 'ask without csr, or give the backend the right to sign (policies/ holds the document)' },
  );
}
