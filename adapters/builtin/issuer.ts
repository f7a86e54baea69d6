import { CaError, ConfigError } from '../../src/issuer/errors.ts';
import type { CallOptions, Check, Issuer, IssuerContext, IssuerDeps, Provisioner } from '../../src/issuer/issuer.ts';
import { orAborted } from '../../src/runtime/or-aborted.ts';
import { loadCaKeyPair } from '../../src/x509/ca-key-pair.ts';
import { X509Error } from '../../src/x509/x509-error.ts';
import { caLifeCheck } from '../shared/ca-life.ts';
import type { CaKeyPair } from '../shared/in-process-ca.ts';
import { createLocalIssuer, keyPairError } from '../shared/local-issuer.ts';
import { type CaPems, caNotMade, caSecretNames, readCaPems } from './ca-secrets.ts';
import type { BuiltinConf } from './config.ts';
import { createCa } from './create-ca.ts';

const RENEW = 'add a backend of another name to the mesh and rotate to it: a builtin root is never replaced in place';

export function createBuiltinIssuer(context: IssuerContext, conf: BuiltinConf, deps: IssuerDeps): Issuer & Provisioner {
  const names = caSecretNames(context);
  const local = createLocalIssuer({
    context,
    deps,
    renew: RENEW,
    async load(call) {
      const pems = await readCaPems(deps.secrets, context, call);
      if (pems === undefined) throw caNotMade(context);
      return toKeyPair(pems, context);
    },
  });

  return {
    ...local,

    async ensure(call) {
      call.signal.throwIfAborted();
      try {
        const pems = await readCaPems(deps.secrets, context, call);
        if (pems === undefined) await provision(call);
        else toKeyPair(pems, context);
      } catch (error) {
        throw keyPairError(error, context);
      }
    },

    async inspect(call) {
      const checks: Check[] = [];
      const pems = await inspectSecrets(checks, call);
      const ca = pems && inspectKey(checks, pems);
      if (ca) checks.push(caLifeCheck('builtin.ca-valid', ca.path, deps.clock.now(), RENEW));
      return checks;
    },
  };

  async function provision(call: CallOptions): Promise<void> {
    const made = await orAborted(createCa(context, conf, deps), call.signal);
    const stored = await deps.secrets.createTogether(
      new Map([
        [names.cert, Buffer.from(made.cert)],
        [names.key, Buffer.from(made.key)],
      ]),
    );
    if (stored) {
      deps.log.info({ keyType: conf.caCert.keyType, secrets: [names.cert, names.key] }, 'builtin ca made');
      return;
    }
    const winner = await readCaPems(deps.secrets, context, call);
    if (winner === undefined) throw caNotMade(context);
    toKeyPair(winner, context);
  }

  async function inspectSecrets(checks: Check[], call: CallOptions): Promise<CaPems | undefined> {
    const name = 'builtin.secrets-present';
    try {
      const pems = await readCaPems(deps.secrets, context, call);
      if (pems === undefined) throw caNotMade(context);
      checks.push({ name, ok: true, message: `secrets "${names.cert}" and "${names.key}" exist` });
      return pems;
    } catch (error) {
      call.signal.throwIfAborted();
      checks.push(failed(name, 'the CA cannot be read', error));
      return undefined;
    }
  }

  function inspectKey(checks: Check[], pems: CaPems): CaKeyPair | undefined {
    const name = 'builtin.key-matches';
    try {
      const ca = toKeyPair(pems, context);
      checks.push({ name, ok: true, message: 'the private key belongs to the CA certificate' });
      return ca;
    } catch (error) {
      checks.push(failed(name, 'certificate and private key are not a pair', error));
      return undefined;
    }
  }
}

/** @throws ConfigError when the two are no pair */
function toKeyPair(pems: CaPems, context: IssuerContext): CaKeyPair {
  const names = caSecretNames(context);
  try {
    const { chain, privateKey } = loadCaKeyPair(pems.cert, pems.key);
    const [root] = chain;
    if (root === undefined) throw new TypeError('a CA key pair without a certificate');
    return { path: [root], privateKey };
  } catch (error) {
    if (!(error instanceof X509Error)) throw error;
    throw new ConfigError(`secrets "${names.cert}" and "${names.key}" are no CA key pair: ${error.message}`, {
      cause: error,
      fix: 'restore both secrets from the same backup, or add a backend of another name and rotate to it',
    });
  }
}

function failed(name: string, message: string, error: unknown): Check {
  const cause = error instanceof Error ? error.message : 'unknown';
  return {
    name,
    ok: false,
    message,
    cause,
    fix: (error instanceof CaError && error.fix) || 'look at the store of mesh-ca',
  };
}
