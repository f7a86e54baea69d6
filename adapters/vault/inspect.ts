import { CaError } from '../../src/issuer/errors.ts';
import type { Check, IssuerDeps } from '../../src/issuer/issuer.ts';
import { findKnowledge, type Knowledge } from './abilities.ts';
import { bundleOf, parseCas } from './chain.ts';
import type { VaultClient } from './client.ts';
import type { VaultConf } from './config.ts';
import type { Connector } from './connector.ts';
import { type Failure, type FailureKind, toError } from './failure.ts';

/** A certificate of Vault's starts 30 s before its clock; beyond that a clock ahead of ours makes it not valid yet. */
const CLOCK_SKEW_MAX_MS = 30_000;
/** Nothing is learned about Vault itself when the exchange ends like this. */
const UNREACHABLE: ReadonlySet<FailureKind> = new Set(['network', 'timeout', 'malformed', 'server']);

/** The named findings about one backend, in the order in which things must be right. What cannot be known because of an earlier fault is left out. */
export async function inspectVault(
  conf: VaultConf,
  connector: Connector,
  clock: IssuerDeps['clock'],
  signal: AbortSignal,
): Promise<readonly Check[]> {
  const checks: Check[] = [];
  const pass = (name: string, message: string) => void checks.push({ name: `vault.${name}`, ok: true, message });
  const fail = (name: string, { message, fix, cause }: FailedCheck) =>
    void checks.push({ name: `vault.${name}`, ok: false, message, ...(fix && { fix }), ...(cause && { cause }) });

  const client = await attempt(connector.get(signal), signal);
  if (client instanceof CaError) {
    fail(
      'credentials-loaded',
      client.fix === undefined ? { message: client.message } : { message: client.message, fix: client.fix },
    );
    return checks;
  }
  pass('credentials-loaded', 'token and CA certificate are there');

  const health = await client.health(signal);
  if (!health.ok && UNREACHABLE.has(health.failure.kind)) {
    fail('address-reachable', explain(health.failure));
    return checks;
  }
  pass(
    'address-reachable',
    health.ok ? `${conf.endpoint} runs version ${health.value.version}` : `${conf.endpoint} answers`,
  );
  if (!health.ok && health.failure.kind === 'tls') {
    fail('tls-trusted', explain(health.failure));
    return checks;
  }
  if (conf.endpoint.startsWith('https:')) {
    pass(
      'tls-trusted',
      conf.tls.skipVerify ? 'not checked: tls.skipVerify is set' : "the server's certificate is trusted",
    );
  }
  if (health.ok) {
    const { initialized, sealed, server_time_utc: serverSeconds } = health.value;
    if (sealed || !initialized) {
      fail('unsealed', {
        message: `vault at ${conf.endpoint} is ${initialized ? 'sealed' : 'not initialised'}`,
        fix: initialized ? 'unseal it: vault operator unseal' : 'initialise it: vault operator init',
      });
      return checks;
    }
    pass('unsealed', 'vault is unsealed');
    const skewMs = serverSeconds * 1000 - clock.now().getTime();
    // The server tells whole seconds.
    if (Math.abs(skewMs) > CLOCK_SKEW_MAX_MS + 1000) fail('clock', describeSkew(skewMs));
    else pass('clock', 'the clocks agree');
  }

  const token = await client.lookupToken(signal);
  const known = await findKnowledge(client, `${conf.pki} and ${conf.role}`, signal);
  if (token.ok) pass('token-valid', describeToken(token.value));
  else if (known.ok) pass('token-valid', 'vault accepts the token; it may not look itself up (policy "default")');
  else fail('token-valid', explain(token.failure));
  if (known.ok) inspectRights(known.value, conf, pass, fail);
  else if (token.ok) fail('issue-permitted', explain(known.failure));
  await inspectCas(client, conf, pass, fail, signal);
  return checks;
}

type Pass = (name: string, message: string) => void;
type Fail = (name: string, check: FailedCheck) => void;
interface FailedCheck {
  readonly message: string;
  readonly fix?: string;
  readonly cause?: string;
}

function inspectRights(
  { maySign, mayIssue, role: facts }: Knowledge,
  { pki, role }: VaultConf,
  pass: Pass,
  fail: Fail,
): void {
  if (maySign) pass('sign-permitted', `the token may use ${pki}/sign/${role}`);
  if (mayIssue) pass('issue-permitted', `the token may use ${pki}/issue/${role}`);
  if (!maySign) return;
  if (!facts.isKnown) {
    pass(
      'role-readable',
      'the role cannot be read, so the documented one is assumed: RSA keys, names taken from the CSR',
    );
  } else if (facts.keyTypes.length > 0) {
    pass('role-readable', `the role signs keys of type ${facts.keyTypes.join(', ')}`);
  } else {
    fail('role-readable', {
      message: `role ${role} signs no type of key that proxies can use`,
      fix: `vault patch ${pki}/roles/${role} key_type=any`,
    });
  }
}

async function inspectCas(
  client: VaultClient,
  conf: VaultConf,
  pass: Pass,
  fail: Fail,
  signal: AbortSignal,
): Promise<void> {
  const pem = await client.readCaChain(signal);
  if (!pem.ok) {
    fail('mount-readable', explain(pem.failure));
    return;
  }
  const cas = await attempt(
    Promise.resolve(pem.value).then((text) => parseCas(conf.pki, text)),
    signal,
  );
  if (cas instanceof CaError) {
    fail('mount-readable', describeError(cas));
    return;
  }
  pass('mount-readable', `mount ${conf.pki} tells ${cas.length} CA certificate${cas.length === 1 ? '' : 's'}`);
  const bundle = await attempt(
    Promise.resolve(cas).then((all) => bundleOf(conf.pki, all)),
    signal,
  );
  if (bundle instanceof CaError) fail('root-known', describeError(bundle));
  else pass('root-known', 'the chain ends in a root');
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

function describeToken({ ttl, renewable, type }: { ttl: number; renewable: boolean; type: string }): string {
  if (ttl === 0) return `vault accepts the token (${type}); it never expires`;
  return `vault accepts the token (${type}); it expires in ${ttl} s and can${renewable ? '' : 'not'} be renewed`;
}
