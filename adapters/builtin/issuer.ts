import type { CallOptions, Issuer, IssuerContext, IssuerDeps, Provisioner } from '../../src/issuer/issuer.ts';
import { orAborted } from '../../src/runtime/or-aborted.ts';
import { createLocalIssuer, keyPairError } from '../shared/local-issuer.ts';
import { caNotMade, caSecretNames, readCaPems } from './ca-secrets.ts';
import type { BuiltinConf } from './config.ts';
import { createCa } from './create-ca.ts';
import { inspectBuiltin } from './inspect.ts';
import { RENEW, readKeyPair } from './key-pair.ts';

export function createBuiltinIssuer(context: IssuerContext, conf: BuiltinConf, deps: IssuerDeps): Issuer & Provisioner {
  const names = caSecretNames(context);
  const local = createLocalIssuer({
    context,
    deps,
    renew: RENEW,
    async load(call) {
      const pems = await readCaPems(deps.secrets, context, call);
      if (pems === undefined) throw caNotMade(context);
      return readKeyPair(pems, context);
    },
  });

  return {
    ...local,

    async ensure(call) {
      call.signal.throwIfAborted();
      try {
        const pems = await readCaPems(deps.secrets, context, call);
        if (pems === undefined) await provision(call);
        else readKeyPair(pems, context);
      } catch (error) {
        throw keyPairError(error, context);
      }
    },

    inspect: (options) => inspectBuiltin({ context, conf, deps }, options),
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
    readKeyPair(winner, context);
  }
}
