import { ConfigError } from '../../src/issuer/errors.ts';
import type {
  CallOptions,
  ConfChecker,
  ConfFindings,
  Issuer,
  IssuerContext,
  IssuerDeps,
} from '../../src/issuer/issuer.ts';
import { X509Error } from '../../src/x509/x509-error.ts';
import { createLocalIssuer } from '../shared/local-issuer.ts';
import { checkCa } from './check-ca.ts';
import type { ProvidedConf } from './config.ts';
import { inspectProvided } from './inspect.ts';
import { type CaSources, loadSources, pairViolations, readCa } from './load-ca.ts';
import { tryCa } from './try-ca.ts';

const RENEW = 'add a backend with a new CA to the mesh and rotate to it, before this one ends';

export function createProvidedIssuer(
  context: IssuerContext,
  conf: ProvidedConf,
  deps: IssuerDeps,
): Issuer & ConfChecker {
  const local = createLocalIssuer({
    context,
    deps,
    renew: RENEW,
    load: async (call) => readCa(await loadSources(conf, deps, call)),
  });

  return {
    ...local,

    async checkConf(call) {
      const findings = await checkData(call);
      return conf.key.kind === 'inline' ? { ...findings, warnings: [...findings.warnings, INLINE_KEY] } : findings;
    },

    inspect: (options) => inspectProvided({ conf, deps, renew: RENEW }, options),
  };

  async function checkData(call: CallOptions): Promise<ConfFindings> {
    call.signal.throwIfAborted();
    let sources: CaSources;
    try {
      sources = await loadSources(conf, deps, call);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      const { message, fix } = error;
      return {
        violations: [
          { field: 'cert', message },
          { field: 'key', message },
        ],
        warnings: [],
        ...(fix === undefined ? {} : { fix }),
      };
    }
    try {
      const ca = readCa(sources);
      const findings = checkCa(ca.file, deps.clock.now());
      if (findings.violations.length > 0) return findings;
      return { ...findings, violations: await tryCa(context.mesh, ca, deps, RENEW) };
    } catch (error) {
      if (!(error instanceof X509Error)) throw error;
      return { violations: pairViolations(error, sources), warnings: [] };
    }
  }
}

const INLINE_KEY =
  'key: an inline private key can be read by everybody who may read the Mesh; use a secret, inline is for development only';
