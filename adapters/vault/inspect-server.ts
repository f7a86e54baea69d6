import type { z } from 'zod';
import type { Checks } from '../shared/checks.ts';
import { FIND_ACTIVE, INITIALISE, UNSEAL } from './error-rules.ts';
import type { Failure, FailureKind } from './failure.ts';
import { findingOf } from './finding-of.ts';
import type { Ways } from './inspected.ts';
import type { healthReply } from './replies.ts';

/** A certificate of Vault's starts 30 s before its clock; beyond that a clock ahead of ours makes it not valid yet. It tells whole seconds. */
const CLOCK_SKEW_MAX_MS = 31_000;
/** Nothing is learned about Vault itself when the exchange ends like this. */
const UNREACHABLE: ReadonlySet<FailureKind> = new Set(['network', 'dns', 'timeout', 'no-tls', 'malformed', 'server']);
const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;

type Health = z.output<typeof healthReply>;

/** Whether there is a Vault that works. False: it makes no sense to ask more. */
export async function tellServer(ways: Ways, checks: Checks): Promise<boolean> {
  const { conf, client, clock, signal } = ways;
  const health = await client.health(signal);
  if (!health.ok && UNREACHABLE.has(health.failure.kind)) {
    checks.fail('address-reachable', findingOf(health.failure, conf.endpointField));
    return false;
  }
  const version = health.ok ? `runs version ${health.value.version}` : 'answers';
  checks.pass('address-reachable', `${conf.endpoint} ${version}`);
  if (!tellTls(ways, health.ok ? undefined : health.failure, checks)) return false;
  // A gateway may keep its health to itself.
  if (!health.ok) return true;
  if (!tellSeal(ways, health.value, checks) || !(await tellActive(ways, health.value, checks))) return false;
  checks.clock(health.value.server_time_utc * 1000 - clock.now().getTime(), { maxMs: CLOCK_SKEW_MAX_MS }, "vault's");
  return true;
}

function tellTls({ conf }: Ways, failure: Failure | undefined, checks: Checks): boolean {
  if (!conf.endpoint.startsWith('https:')) {
    tellPlainHttp(conf, checks);
    return true;
  }
  if (failure?.kind === 'tls') {
    const isUntrusted = failure.fix.includes('fromCp.tls.caCert');
    checks.fail('tls-trusted', findingOf(failure, isUntrusted ? 'fromCp.tls.caCert' : undefined));
    return false;
  }
  if (conf.tls.skipVerify) {
    checks.warn('tls-trusted', {
      message: 'is not looked at: fromCp.tls.skipVerify is set',
      cause: 'anybody in between can pose as this Vault and read the token',
      fix: "set fromCp.tls.caCert to the CA certificate of Vault's listener, and take fromCp.tls.skipVerify away",
      field: 'fromCp.tls.skipVerify',
    });
    checks.skip('tls-name', 'fromCp.tls.skipVerify is set');
    return true;
  }
  checks.pass('tls-trusted', "the server's certificate is trusted");
  if (failure?.kind === 'tls-name') {
    checks.fail('tls-name', findingOf(failure));
    return false;
  }
  checks.pass('tls-name', `it is for ${conf.tls.serverName || new URL(conf.endpoint).hostname}`);
  return true;
}

function tellPlainHttp({ endpoint, endpointField }: Ways['conf'], checks: Checks): void {
  if (LOOPBACK.test(new URL(endpoint).hostname)) {
    checks.pass('tls-trusted', 'there is no TLS, and nothing leaves this machine');
    checks.skip('tls-name', 'there is no TLS');
    return;
  }
  checks.warn('tls-trusted', {
    message: 'there is no TLS',
    cause: 'token and keys cross the network for everybody to read',
    fix: `give Vault's listener a certificate, and write https:// in ${endpointField}`,
    field: endpointField,
  });
  checks.skip('tls-name', 'there is no TLS');
}

function tellSeal({ conf }: Ways, { initialized, sealed }: Health, checks: Checks): boolean {
  if (!sealed && initialized) {
    checks.pass('unsealed', 'vault is unsealed');
    return true;
  }
  checks.fail('unsealed', {
    message: `vault at ${conf.endpoint} is ${initialized ? 'sealed' : 'not initialised'}`,
    fix: initialized ? UNSEAL : INITIALISE,
    retry: initialized,
  });
  return false;
}

async function tellActive({ conf, client, signal }: Ways, health: Health, checks: Checks): Promise<boolean> {
  if (health.replication_dr_mode === 'secondary') {
    checks.fail('active', {
      message: `vault at ${conf.endpoint} is a secondary for disaster recovery, which serves nobody`,
      fix: `set ${conf.endpointField} to the primary cluster`,
      field: conf.endpointField,
      retry: false,
    });
    return false;
  }
  if (!health.standby) {
    checks.pass('active', 'this node is active');
    return true;
  }
  const leader = await client.leader(signal);
  if (leader.ok && leader.value.ha_enabled && !leader.value.leader_address) {
    checks.fail('active', {
      message: `vault at ${conf.endpoint} is a standby, and its cluster has no active node`,
      fix: FIND_ACTIVE,
      retry: true,
    });
    return false;
  }
  checks.pass('active', 'this node stands by, and hands requests to the active one');
  return true;
}
