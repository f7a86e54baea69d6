import { CaError } from '../../src/issuer/errors.ts';
import type { InspectOptions, IssuerDeps } from '../../src/issuer/issuer.ts';
import { X509Error } from '../../src/x509/x509-error.ts';
import { checkCaLife } from '../shared/ca-life.ts';
import { type Checks, createChecks, type Finding } from '../shared/checks.ts';
import { checkCaForm } from './check-ca.ts';
import type { ProvidedConf } from './config.ts';
import { type CaSources, type LoadedCa, pairViolations, readCa } from './load-ca.ts';

export interface Inspected {
  readonly conf: ProvidedConf;
  readonly deps: IssuerDeps;
  /** What an operator does about a CA that ends. */
  readonly renew: string;
}

/** Are certificate and key there, are they a pair, do they keep the documented rules, do they live? */
export async function inspectProvided({ conf, deps, renew }: Inspected, options: InspectOptions): Promise<void> {
  options.signal.throwIfAborted();
  const checks = createChecks('provided', { ...options, clock: deps.clock });
  const sources = await checkData(conf, deps, checks, options.signal);
  if (sources === undefined) return;
  checkProtection(conf, checks);
  const ca = checkPair(sources, checks);
  if (ca === undefined) return;
  checkRules(ca, checks);
  checkCaLife(checks, ca.path, deps.clock.now(), renew);
}

async function checkData(
  conf: ProvidedConf,
  deps: IssuerDeps,
  checks: Checks,
  signal: AbortSignal,
): Promise<CaSources | undefined> {
  const [key, cert] = await Promise.allSettled([deps.load(conf.key, { signal }), deps.load(conf.cert, { signal })]);
  if (key.status === 'fulfilled' && cert.status === 'fulfilled') {
    checks.pass('data-loads', 'certificate and key can be loaded');
    return { certPem: cert.value.toString('utf8'), keyPem: key.value.toString('utf8') };
  }
  const missing = [
    ...(cert.status === 'rejected' ? [{ field: 'cert', what: 'certificate', error: cert.reason }] : []),
    ...(key.status === 'rejected' ? [{ field: 'key', what: 'key', error: key.reason }] : []),
  ];
  const [first, second] = missing;
  checks.fail('data-loads', {
    ...findingOf(first?.error, 'look at the store of mesh-ca'),
    message: `${missing.map(({ what }) => what).join(' and ')} cannot be loaded`,
    cause: missing.map(({ error }) => textOf(error)).join('; '),
    field: second === undefined ? first?.field : undefined,
  });
  return undefined;
}

function checkProtection({ key }: ProvidedConf, checks: Checks): void {
  if (key.kind !== 'inline') {
    checks.pass('key-protected', `the private key stands in a ${key.kind}`);
    return;
  }
  checks.warn('key-protected', {
    message: 'the private key stands in the Mesh itself',
    cause: 'everybody who may read the Mesh can sign certificates of every service',
    fix: 'store it as a secret of the mesh and name that: key: { secret: <name> }',
  });
}

function checkPair(sources: CaSources, checks: Checks): LoadedCa | undefined {
  try {
    const ca = readCa(sources);
    checks.pass('key-matches', 'the private key belongs to the first certificate');
    return ca;
  } catch (error) {
    const finding = findingOf(error, 'give the CA certificate first and the private key that belongs to it');
    checks.fail('key-matches', {
      ...finding,
      message: 'not a valid TLS key pair',
      field: fieldToBlame(error, sources),
    });
    return undefined;
  }
}

/** Of `loadCaKeyPair`: the key itself cannot be read. */
const KEY_RULES: ReadonlySet<string> = new Set(['ca-key-pem', 'ca-key-parse']);

function fieldToBlame(error: unknown, sources: CaSources): string | undefined {
  if (!(error instanceof X509Error)) return undefined;
  return KEY_RULES.has(error.rule) ? 'key' : pairViolations(error, sources).at(-1)?.field;
}

function checkRules({ file }: LoadedCa, checks: Checks): void {
  const { violations, warnings } = checkCaForm(file);
  const fix = 'see "CA requirements" in adapters/provided/README.md, and provide a CA that keeps them';
  if (violations.length > 0) {
    const [first, ...others] = violations;
    checks.fail('ca-rules', {
      message: 'the CA certificates break rules that proxies hold them to',
      cause: violations.map(({ field, message }) => `${field}: ${message}`).join('; '),
      fix,
      field: others.length === 0 ? first?.field : undefined,
    });
  } else if (warnings.length > 0) {
    const message = 'the CA certificates are not quite as documented, but proxies take them';
    checks.warn('ca-rules', { message, cause: warnings.join('; '), fix });
  } else checks.pass('ca-rules', `${file.length} CA certificates keep the documented rules`);
}

function findingOf(error: unknown, otherwise: string): Omit<Finding, 'message'> {
  const known = error instanceof CaError ? error : undefined;
  return { cause: textOf(error), fix: known?.fix ?? otherwise, retry: known?.retry };
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : 'unknown';
}
