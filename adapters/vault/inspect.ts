import { CaError } from '../../src/issuer/errors.ts';
import type { InspectOptions } from '../../src/issuer/issuer.ts';
import { attempt, type Checks, createChecks } from '../shared/checks.ts';
import type { VaultConf } from './config.ts';
import type { Outcome } from './failure.ts';
import { findingOf } from './finding-of.ts';
import { gatherMount, tellCas, tellMount } from './inspect-mount.ts';
import { tellRights } from './inspect-rights.ts';
import { tellRole } from './inspect-role.ts';
import { tellServer } from './inspect-server.ts';
import { gatherToken, tellToken } from './inspect-token.ts';
import { tellTokenLife } from './inspect-token-life.ts';
import { CALL_TIMEOUT_MS, FIRST_TIMEOUT_MS, type Inspected } from './inspected.ts';

/**
 * The named findings about one backend, in the order of `CHECK_RULES`. Reads only, by about ten calls of which five wait for one another. What everybody
 * may ask of the mount is asked beside what takes a token, and told though there is none.
 */
export async function inspectVault(of: Omit<Inspected, 'ttlSeconds'>, options: InspectOptions): Promise<void> {
  const inspected = { ...of, ttlSeconds: options.ttlSeconds };
  const { conf, connector, clock } = inspected;
  const { signal } = options;
  signal.throwIfAborted();
  const checks = createChecks('vault', { ...options, clock });
  const opened = await attempt(() => connector.open(signal), signal);
  if (opened instanceof CaError) {
    checks.fail('credentials-loaded', opened);
    return;
  }
  const loaded = await attempt(() => connector.loadCredentials(signal), signal);
  if (loaded instanceof CaError) checks.fail('credentials-loaded', loaded);
  else checks.pass('credentials-loaded', 'what the conf points to is there');
  if (!(await tellServer({ ...inspected, client: connector.hasty(FIRST_TIMEOUT_MS), signal }, checks))) return;

  const ways = { ...inspected, client: connector.hasty(CALL_TIMEOUT_MS), signal };
  const gathered = [
    gatherMount(ways),
    loaded instanceof CaError ? Promise.resolve(undefined) : gatherToken(ways),
  ] as const;
  // What fails while nobody waits for it yet is no unhandled rejection.
  for (const facts of gathered) facts.catch(() => {});
  const mount = await gathered[0];
  if (!tellNamespace(conf, mount.list, checks)) return;
  const outcome = await gathered[1];
  const token = outcome && tellToken(inspected, outcome, checks);
  const hasMount = tellMount(conf, mount, checks);
  const isPermitted = token !== undefined && hasMount && tellRights(inspected, token, checks);
  if (token !== undefined) tellTokenLife(inspected, token, checks);
  if (token !== undefined && isPermitted) tellRole(inspected, token, checks);
  if (hasMount) await tellCas(ways, mount, token?.state, checks);
}

function tellNamespace({ namespace }: VaultConf, list: Outcome<unknown>, checks: Checks): boolean {
  if (!list.ok && list.failure.kind === 'namespace') {
    checks.fail('namespace', findingOf(list.failure));
    return false;
  }
  checks.pass('namespace', namespace === '' ? 'none is set' : `namespace ${namespace} is there`);
  return true;
}
