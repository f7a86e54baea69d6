import { CaError, ConfigError } from '../../src/issuer/errors.ts';
import type {
  CallOptions,
  Check,
  ConfChecker,
  ConfFindings,
  Issuer,
  IssuerContext,
  IssuerDeps,
} from '../../src/issuer/issuer.ts';
import { X509Error } from '../../src/x509/x509-error.ts';
import { caLifeCheck } from '../shared/ca-life.ts';
import { createLocalIssuer } from '../shared/local-issuer.ts';
import { checkCa } from './check-ca.ts';
import type { ProvidedConf } from './config.ts';
import { type CaSources, type LoadedCa, loadSources, pairViolations, readCa } from './load-ca.ts';
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

    async inspect(call) {
      const checks: Check[] = [];
      const sources = await inspectData(checks, call);
      const ca = sources && inspectKey(checks, sources);
      if (ca) checks.push(inspectRules(ca), caLifeCheck('provided.ca-valid', ca.path, deps.clock.now(), RENEW));
      return checks;
    },
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

  async function inspectData(checks: Check[], call: CallOptions): Promise<CaSources | undefined> {
    const name = 'provided.data-loads';
    try {
      const sources = await loadSources(conf, deps, call);
      checks.push({ name, ok: true, message: 'certificate and key can be loaded' });
      return sources;
    } catch (error) {
      call.signal.throwIfAborted();
      checks.push(failed(name, 'certificate or key cannot be loaded', error, 'look at the store of mesh-ca'));
      return undefined;
    }
  }

  function inspectKey(checks: Check[], sources: CaSources): LoadedCa | undefined {
    const name = 'provided.key-matches';
    try {
      const ca = readCa(sources);
      checks.push({ name, ok: true, message: 'the private key belongs to the first certificate' });
      return ca;
    } catch (error) {
      checks.push(
        failed(
          name,
          'not a valid TLS key pair',
          error,
          'give the CA certificate first and the private key that belongs to it',
        ),
      );
      return undefined;
    }
  }

  function inspectRules({ file }: LoadedCa): Check {
    const name = 'provided.ca-rules';
    const { violations } = checkCa(file, deps.clock.now());
    if (violations.length === 0)
      return { name, ok: true, message: `${file.length} CA certificates keep the documented rules` };
    return {
      name,
      ok: false,
      message: 'the CA certificates break rules that proxies hold them to',
      cause: violations.map(({ field, message }) => `${field}: ${message}`).join('; '),
      fix: 'see "CA requirements" in adapters/provided/README.md, and provide a CA that keeps them',
    };
  }
}

const INLINE_KEY =
  'key: an inline private key can be read by everybody who may read the Mesh; use a secret, inline is for development only';

function failed(name: string, message: string, error: unknown, fix: string): Check {
  const cause = error instanceof Error ? error.message : 'unknown';
  return { name, ok: false, message, cause, fix: (error instanceof CaError && error.fix) || fix };
}
