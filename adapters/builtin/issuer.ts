import type { CallOptions, Issuer, IssuerContext, IssuerDeps, Provisioner, Renewer } from '../../src/issuer/issuer.ts';
import { orAborted } from '../../src/runtime/or-aborted.ts';
import { createLocalIssuer, keyPairError } from '../shared/local-issuer.ts';
import { caNotMade, caSecretNames } from './ca-secrets.ts';
import type { BuiltinConf } from './config.ts';
import { createCa } from './create-ca.ts';
import { type Generations, loadGenerations, othersOf, readStoredGenerations, rootOf } from './generations.ts';
import { inspectBuiltin } from './inspect.ts';
import { renew, writeKeyPair } from './key-pair.ts';
import { mirrorSigning } from './mirror-signing.ts';
import { createRenewer } from './renewer.ts';

export function createBuiltinIssuer(
  context: IssuerContext,
  conf: BuiltinConf,
  deps: IssuerDeps,
): Issuer & Provisioner & Renewer {
  const names = caSecretNames(context);
  const local = createLocalIssuer({
    context,
    deps,
    renew: renew(context),
    async load(call) {
      const generations = await read(call);
      if (generations === undefined) throw caNotMade(context);
      return { ...generations.signing.ca, alsoTrusted: othersOf(generations).map(rootOf) };
    },
  });

  return {
    ...local,
    ...createRenewer(context, conf, deps),

    async ensure(call) {
      call.signal.throwIfAborted();
      try {
        if ((await read(call)) === undefined) await provision(call);
        else await mirrorSigning(context, deps, call);
      } catch (error) {
        throw keyPairError(error, context);
      }
    },

    inspect: (options) => inspectBuiltin({ context, conf, deps }, options),
  };

  async function read(call: CallOptions): Promise<Generations | undefined> {
    const stored = await readStoredGenerations(deps.secrets, context, call);
    return stored && loadGenerations(stored, context);
  }

  async function provision(call: CallOptions): Promise<void> {
    const made = writeKeyPair(await orAborted(createCa(context, conf, deps), call.signal));
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
    if ((await read(call)) === undefined) throw caNotMade(context);
  }
}
