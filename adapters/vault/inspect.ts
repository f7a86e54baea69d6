import { CaError, ConfigError } from '../../src/issuer/errors.ts';
import type { Check, IssuerDeps } from '../../src/issuer/issuer.ts';
import type { Certificate } from '../../src/x509/certificate.ts';
import { explainNoRight } from './abilities.ts';
import { bundleOf, parseCertificates } from './chain.ts';
import type { VaultClient } from './client.ts';
import type { VaultConf } from './config.ts';
import type { Connector } from './connector.ts';
import { renewCa } from './error-rules.ts';
import { type Failure, type FailureKind, failed, type Outcome, toError } from './failure.ts';
import type { MountIssuers } from './mount-issuers.ts';
import { findRoleFindings } from './role-findings.ts';
import type { TokenStatus } from './token-status.ts';

/** A certificate of Vault's starts 30 s before its clock; beyond that a clock ahead of ours makes it not valid yet. */
const CLOCK_SKEW_MAX_MS = 30_000;
/** Nothing is learned about Vault itself when the exchange ends like this. */
const UNREACHABLE: ReadonlySet<FailureKind> = new Set(['network', 'dns', 'timeout', 'malformed', 'server']);

export interface Inspected {
  readonly conf: VaultConf;
  readonly mesh: string;
  readonly connector: Connector;
  readonly issuers: MountIssuers;
  readonly clock: IssuerDeps['clock'];
}

interface FailedCheck {
  readonly message: string;
  readonly fix?: string;
  readonly cause?: string;
}

/** The findings so far. */
class Findings {
  readonly checks: Check[] = [];

  pass(name: string, message: string): void {
    this.checks.push({ name: `vault.${name}`, ok: true, message });
  }

  fail(name: string, { message, fix, cause }: FailedCheck): void {
    this.checks.push({ name: `vault.${name}`, ok: false, message, ...(fix && { fix }), ...(cause && { cause }) });
  }
}

/**
 * The named findings about one backend, in the order in which things must be right. What cannot be known because of an earlier fault is left out.
 * Reads only, by about eight calls.
 */
export async function inspectVault(inspected: Inspected, signal: AbortSignal): Promise<readonly Check[]> {
  const findings = new Findings();
  const open = await attempt(inspected.connector.open(signal), signal);
  if (open instanceof CaError) findings.fail('credentials-loaded', describeError(open));
  else if (await inspectServer(inspected, open, findings, signal)) {
    await inspectToken(inspected, findings, signal);
    await inspectCas(inspected, open, findings, signal);
  }
  return findings.checks;
}

/** False: it makes no sense to ask more. */
async function inspectServer(
  { conf, clock }: Inspected,
  client: VaultClient,
  findings: Findings,
  signal: AbortSignal,
): Promise<boolean> {
  const health = await client.health(signal);
  if (!health.ok && UNREACHABLE.has(health.failure.kind)) {
    findings.fail('address-reachable', explain(health.failure));
    return false;
  }
  findings.pass(
    'address-reachable',
    health.ok ? `${conf.endpoint} runs version ${health.value.version}` : `${conf.endpoint} answers`,
  );
  if (!health.ok && health.failure.kind === 'tls') {
    findings.fail('tls-trusted', explain(health.failure));
    return false;
  }
  if (conf.endpoint.startsWith('https:')) {
    findings.pass(
      'tls-trusted',
      conf.tls.skipVerify ? 'not checked: tls.skipVerify is set' : "the server's certificate is trusted",
    );
  }
  if (!health.ok) return true;
  const { initialized, sealed, server_time_utc: serverSeconds } = health.value;
  if (sealed || !initialized) {
    findings.fail('unsealed', {
      message: `vault at ${conf.endpoint} is ${initialized ? 'sealed' : 'not initialised'}`,
      fix: initialized ? 'unseal it: vault operator unseal' : 'initialise it: vault operator init',
    });
    return false;
  }
  findings.pass('unsealed', 'vault is unsealed');
  const skewMs = serverSeconds * 1000 - clock.now().getTime();
  // The server tells whole seconds.
  if (Math.abs(skewMs) > CLOCK_SKEW_MAX_MS + 1000) findings.fail('clock', describeSkew(skewMs));
  else findings.pass('clock', 'the clocks agree');
  return true;
}

async function inspectToken(inspected: Inspected, findings: Findings, signal: AbortSignal): Promise<void> {
  const { conf, connector } = inspected;
  const client = await attempt(connector.get(signal), signal);
  if (client instanceof CaError) {
    findings.fail(client instanceof ConfigError ? 'credentials-loaded' : 'token-valid', describeError(client));
    return;
  }
  findings.pass('credentials-loaded', 'what the conf points to is there');
  const token = await client.lookupToken(signal);
  const rights = await findRights(client, conf, signal);
  if (token.ok) findings.pass('token-valid', `vault accepts the token (${token.value.type})`);
  else if (rights.ok) {
    findings.pass('token-valid', 'vault accepts the token; it may not look itself up (policy "default")');
  } else {
    findings.fail('token-valid', explain(token.failure));
    return;
  }
  inspectLife(connector.status(), token, findings);
  if (rights.ok) await inspectRights(inspected, client, rights.value, findings, signal);
  else findings.fail('issue-permitted', explain(rights.failure));
}

/** Only a renewal or login that fails is a fault: many tokens are short on purpose. */
function inspectLife(
  { method, lastFailure }: TokenStatus,
  token: Outcome<{ ttl: number; renewable: boolean }>,
  findings: Findings,
): void {
  if (lastFailure !== undefined) {
    findings.fail('token-life', {
      message: `the token cannot be kept alive: ${lastFailure}`,
      fix:
        method === 'token'
          ? 'give a token that may renew itself (policy "default"), or put fresh ones into the secret or file of fromCp.auth.token in time'
          : `correct the login of fromCp.auth.${method}`,
    });
    return;
  }
  if (!token.ok) findings.pass('token-life', 'unknown: the token may not look itself up');
  else if (token.value.ttl === 0) findings.pass('token-life', 'the token never expires');
  else {
    const { ttl, renewable } = token.value;
    findings.pass('token-life', `the token expires in ${ttl} s and can${renewable ? '' : 'not'} be renewed`);
  }
}

interface Rights {
  readonly maySign: boolean;
  readonly mayIssue: boolean;
  readonly mayReadRole: boolean;
}

/** As `findKnowledge`, but everything that can be known: nothing is assumed to save a call. */
async function findRights(client: VaultClient, conf: VaultConf, signal: AbortSignal): Promise<Outcome<Rights>> {
  const told = await client.capabilities(signal);
  if (told.ok) {
    const { sign: maySign, issue: mayIssue, readRole: mayReadRole } = told.value;
    if (maySign || mayIssue) return { ok: true, value: { maySign, mayIssue, mayReadRole } };
    return failed(await explainNoRight(client, conf, told.value, signal));
  }
  if (told.failure.kind !== 'denied') return told;
  const sign = await client.probe('sign', signal);
  const issue = await client.probe('issue', signal);
  for (const one of [sign, issue]) if (!one.ok) return one;
  const rights = { maySign: sign.ok && sign.value, mayIssue: issue.ok && issue.value, mayReadRole: true };
  return rights.maySign || rights.mayIssue ? { ok: true, value: rights } : told;
}

async function inspectRights(
  { conf, mesh }: Inspected,
  client: VaultClient,
  { maySign, mayIssue, mayReadRole }: Rights,
  findings: Findings,
  signal: AbortSignal,
): Promise<void> {
  const { pki, role: name } = conf;
  if (maySign) findings.pass('sign-permitted', `the token may use ${pki}/sign/${name}`);
  if (mayIssue) findings.pass('issue-permitted', `the token may use ${pki}/issue/${name}`);
  const role = mayReadRole ? await client.readRole(signal) : undefined;
  if (role?.ok === false && role.failure.kind !== 'denied') {
    findings.fail('role-readable', explain(role.failure));
    return;
  }
  if (role?.ok !== true) {
    findings.pass(
      'role-readable',
      'the role cannot be read, so the documented one is assumed: RSA keys, names taken from the CSR',
    );
    return;
  }
  findings.pass('role-readable', `the role is there, for keys of type ${role.value.key_type}`);
  const [worst, ...others] = findRoleFindings({ role: role.value, conf, mesh, maySign });
  if (worst === undefined) findings.pass('role-fits', 'the role allows what proxies need');
  else {
    const more = others.map(({ message, fix }) => `${message} (${fix})`).join('; ');
    findings.fail('role-fits', { ...worst, ...(more && { cause: `also: ${more}` }) });
  }
}

async function inspectCas(
  { conf, mesh, issuers, clock }: Inspected,
  client: VaultClient,
  findings: Findings,
  signal: AbortSignal,
): Promise<void> {
  const cas = await attempt(issuers.read(signal), signal);
  if (cas instanceof CaError) {
    findings.fail('mount-readable', describeError(cas));
    return;
  }
  findings.pass('mount-readable', `mount ${conf.pki} tells ${cas.length} CA certificate${cas.length === 1 ? '' : 's'}`);
  const bundle = await attempt(
    Promise.resolve(cas).then((all) => bundleOf(conf.pki, all)),
    signal,
  );
  if (bundle instanceof CaError) findings.fail('root-known', describeError(bundle));
  else findings.pass('root-known', 'the chain ends in a root');
  const current = await client.readCaChain(signal);
  if (!current.ok) return;
  const signers = await attempt(
    Promise.resolve(current.value).then((pem) => parseCertificates(conf.pki, pem)),
    signal,
  );
  if (!(signers instanceof CaError)) inspectEnds(signers, { pki: conf.pki, mesh }, clock.now(), findings);
}

function inspectEnds(
  cas: readonly Certificate[],
  names: { readonly pki: string; readonly mesh: string },
  now: Date,
  findings: Findings,
): void {
  const [first] = [...cas].sort((a, b) => a.notAfter.getTime() - b.notAfter.getTime());
  if (first === undefined) return;
  const told = `the CA ${JSON.stringify(first.subject)} of ${names.pki}`;
  if (first.notAfter < now) {
    findings.fail('ca-valid', {
      message: `${told} has ended at ${first.notAfter.toISOString()}`,
      fix: renewCa(names),
    });
  } else findings.pass('ca-valid', `${told} ends at ${first.notAfter.toISOString()}`);
}

/** The value, or the error of ours that it failed with; anything else is rethrown. */
async function attempt<T>(work: Promise<T>, signal: AbortSignal): Promise<T | CaError> {
  try {
    return await work;
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof CaError) return error;
    throw error;
  }
}

function explain(failure: Failure): FailedCheck {
  return describeError(toError(failure));
}

function describeError(error: CaError): FailedCheck {
  return error.fix === undefined ? { message: error.message } : { message: error.message, fix: error.fix };
}

function describeSkew(skewMs: number): FailedCheck {
  const seconds = Math.round(Math.abs(skewMs) / 1000);
  return {
    message: `vault's clock is ${seconds} s ${skewMs > 0 ? 'ahead of' : 'behind'} ours`,
    cause: 'certificates would not be valid yet, or end too early',
    fix: 'synchronise both clocks (NTP)',
  };
}
