import { CaError, ConfigError } from '../../src/issuer/errors.ts';
import type { Check, IssuerDeps } from '../../src/issuer/issuer.ts';
import { caLifeCheck } from '../shared/ca-life.ts';
import { attempt, createChecks } from '../shared/checks.ts';
import { explainNoRight } from './abilities.ts';
import { bundleOf, parseCertificates } from './chain.ts';
import type { VaultClient } from './client.ts';
import type { VaultConf } from './config.ts';
import type { Connector } from './connector.ts';
import { renewCa } from './error-rules.ts';
import { type FailureKind, failed, type Outcome, toError } from './failure.ts';
import type { MountIssuers } from './mount-issuers.ts';
import { findRoleFindings } from './role-findings.ts';
import type { TokenStatus } from './token-status.ts';

const { pass, fail, clock: clockCheck } = createChecks('vault');

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

/**
 * The named findings about one backend, in the order in which things must be right. What cannot be known because of an earlier fault is left out.
 * Reads only, by about eight calls.
 */
export async function inspectVault(inspected: Inspected, signal: AbortSignal): Promise<readonly Check[]> {
  const checks: Check[] = [];
  const open = await attempt(() => inspected.connector.open(signal), signal);
  if (open instanceof CaError) checks.push(fail('credentials-loaded', open));
  else if (await inspectServer(inspected, open, checks, signal)) {
    await inspectToken(inspected, checks, signal);
    await inspectCas(inspected, open, checks, signal);
  }
  return checks;
}

/** False: it makes no sense to ask more. */
async function inspectServer(
  { conf, clock }: Inspected,
  client: VaultClient,
  checks: Check[],
  signal: AbortSignal,
): Promise<boolean> {
  const health = await client.health(signal);
  if (!health.ok && UNREACHABLE.has(health.failure.kind)) {
    checks.push(fail('address-reachable', toError(health.failure)));
    return false;
  }
  checks.push(
    pass(
      'address-reachable',
      health.ok ? `${conf.endpoint} runs version ${health.value.version}` : `${conf.endpoint} answers`,
    ),
  );
  if (!health.ok && health.failure.kind === 'tls') {
    checks.push(fail('tls-trusted', toError(health.failure)));
    return false;
  }
  if (conf.endpoint.startsWith('https:')) {
    checks.push(
      pass(
        'tls-trusted',
        conf.tls.skipVerify ? 'not checked: tls.skipVerify is set' : "the server's certificate is trusted",
      ),
    );
  }
  if (!health.ok) return true;
  const { initialized, sealed, server_time_utc: serverSeconds } = health.value;
  if (sealed || !initialized) {
    checks.push(
      fail('unsealed', {
        message: `vault at ${conf.endpoint} is ${initialized ? 'sealed' : 'not initialised'}`,
        fix: initialized ? 'unseal it: vault operator unseal' : 'initialise it: vault operator init',
      }),
    );
    return false;
  }
  checks.push(pass('unsealed', 'vault is unsealed'));
  // The server tells whole seconds.
  checks.push(clockCheck(serverSeconds * 1000 - clock.now().getTime(), CLOCK_SKEW_MAX_MS + 1000, "vault's"));
  return true;
}

async function inspectToken(inspected: Inspected, checks: Check[], signal: AbortSignal): Promise<void> {
  const { conf, connector } = inspected;
  const client = await attempt(() => connector.get(signal), signal);
  if (client instanceof CaError) {
    checks.push(fail(client instanceof ConfigError ? 'credentials-loaded' : 'token-valid', client));
    return;
  }
  checks.push(pass('credentials-loaded', 'what the conf points to is there'));
  const token = await client.lookupToken(signal);
  const rights = await findRights(client, conf, signal);
  if (token.ok) checks.push(pass('token-valid', `vault accepts the token (${token.value.type})`));
  else if (rights.ok) {
    checks.push(pass('token-valid', 'vault accepts the token; it may not look itself up (policy "default")'));
  } else {
    checks.push(fail('token-valid', toError(token.failure)));
    return;
  }
  inspectLife(connector.status(), token, checks);
  if (rights.ok) await inspectRights(inspected, client, rights.value, checks, signal);
  else checks.push(fail('issue-permitted', toError(rights.failure)));
}

/** Only a renewal or login that fails is a fault: many tokens are short on purpose. */
function inspectLife(
  { method, lastFailure }: TokenStatus,
  token: Outcome<{ ttl: number; renewable: boolean }>,
  checks: Check[],
): void {
  if (lastFailure !== undefined) {
    checks.push(
      fail('token-life', {
        message: `the token cannot be kept alive: ${lastFailure}`,
        fix:
          method === 'token'
            ? 'give a token that may renew itself (policy "default"), or put fresh ones into the secret or file of fromCp.auth.token in time'
            : `correct the login of fromCp.auth.${method}`,
      }),
    );
    return;
  }
  if (!token.ok) checks.push(pass('token-life', 'unknown: the token may not look itself up'));
  else if (token.value.ttl === 0) checks.push(pass('token-life', 'the token never expires'));
  else {
    const { ttl, renewable } = token.value;
    checks.push(pass('token-life', `the token expires in ${ttl} s and can${renewable ? '' : 'not'} be renewed`));
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
  checks: Check[],
  signal: AbortSignal,
): Promise<void> {
  const { pki, role: name } = conf;
  if (maySign) checks.push(pass('sign-permitted', `the token may use ${pki}/sign/${name}`));
  if (mayIssue) checks.push(pass('issue-permitted', `the token may use ${pki}/issue/${name}`));
  const role = mayReadRole ? await client.readRole(signal) : undefined;
  if (role?.ok === false && role.failure.kind !== 'denied') {
    checks.push(fail('role-readable', toError(role.failure)));
    return;
  }
  if (role?.ok !== true) {
    checks.push(
      pass(
        'role-readable',
        'the role cannot be read, so the documented one is assumed: RSA keys, names taken from the CSR',
      ),
    );
    return;
  }
  checks.push(pass('role-readable', `the role is there, for keys of type ${role.value.key_type}`));
  const [worst, ...others] = findRoleFindings({ role: role.value, conf, mesh, maySign });
  if (worst === undefined) checks.push(pass('role-fits', 'the role allows what proxies need'));
  else {
    const more = others.map(({ message, fix }) => `${message} (${fix})`).join('; ');
    checks.push(fail('role-fits', worst, more === '' ? undefined : `also: ${more}`));
  }
}

async function inspectCas(
  { conf, mesh, issuers, clock }: Inspected,
  client: VaultClient,
  checks: Check[],
  signal: AbortSignal,
): Promise<void> {
  const cas = await attempt(() => issuers.read(signal), signal);
  if (cas instanceof CaError) {
    checks.push(fail('mount-readable', cas));
    return;
  }
  checks.push(
    pass('mount-readable', `mount ${conf.pki} tells ${cas.length} CA certificate${cas.length === 1 ? '' : 's'}`),
  );
  const bundle = await attempt(() => bundleOf(conf.pki, cas), signal);
  if (bundle instanceof CaError) checks.push(fail('root-known', bundle));
  else checks.push(pass('root-known', 'the chain ends in a root'));
  const current = await client.readCaChain(signal);
  if (!current.ok) return;
  const signers = await attempt(() => parseCertificates(conf.pki, current.value), signal);
  if (signers instanceof CaError || signers.length === 0) return;
  checks.push(caLifeCheck('vault.ca-valid', signers, clock.now(), renewCa({ pki: conf.pki, mesh })));
}
