import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import type { Certificate } from '../../src/x509/certificate.ts';
import type { Path } from '../shared/issued-certificate.ts';
import type { VaultClient } from './client.ts';
import type { VaultConf } from './config.ts';
import { renewCa } from './error-rules.ts';
import { type Failure, toError } from './failure.ts';
import { inNamespace } from './in-namespace.ts';

/** What the whole seconds of certificates and of `sys/health`, and the way of an answer, may add to a difference of clocks. */
const CLOCK_TOLERANCE_MS = 5_000;

export interface ValidityContext {
  readonly conf: Pick<VaultConf, 'endpoint' | 'namespace' | 'pki' | 'role'>;
  readonly mesh: string;
  readonly clock: IssuerDeps['clock'];
  open(signal: AbortSignal): Promise<VaultClient>;
}

/**
 * A certificate that no proxy would accept now: Vault signs with CAs that have ended (where `leaf_not_after_behavior` says truncate or permit), and by its own clock.
 * Costs nothing where all is well; else one call asks for Vault's time.
 * @throws IssuerResponseError that names the CA and its end, or how far the clocks differ
 */
export async function checkValidity(
  leaf: Certificate,
  path: Path,
  context: ValidityContext,
  signal: AbortSignal,
): Promise<void> {
  const now = context.clock.now();
  const ended = findEnded(path, now);
  if (ended === undefined && leaf.notBefore <= now && now < leaf.notAfter) return;
  const client = await context.open(signal);
  const health = await client.health(signal);
  const theirs = health.ok ? health.value.server_time_utc * 1000 : undefined;
  const aheadMs = theirs === undefined ? undefined : theirs - context.clock.now().getTime();
  if (aheadMs !== undefined && Math.abs(aheadMs) > CLOCK_TOLERANCE_MS)
    throw toError(clocksDiffer(leaf, aheadMs, context));
  if (ended !== undefined) throw toError(caEnded(ended, context));
  throw toError(neverValid(leaf, now, context));
}

/** The CA of the path that has ended: an intermediate, or the root where none of those with its name and key is still good. */
function findEnded({ chain, roots }: Path, now: Date) {
  const isOver = ({ notAfter }: Certificate) => notAfter < now;
  return chain.find(isOver) ?? (roots.every(isOver) ? roots[0] : undefined);
}

function caEnded(ca: Certificate, { conf, mesh }: ValidityContext): Failure {
  return {
    kind: 'ca-ended',
    message: `mount ${conf.pki} signs with the CA ${JSON.stringify(ca.subject)}, which has ended at ${ca.notAfter.toISOString()}`,
    fix: inNamespace(renewCa({ pki: conf.pki, mesh }, ca.notAfter), conf.namespace),
  };
}

function clocksDiffer({ notBefore, notAfter }: Certificate, aheadMs: number, { conf }: ValidityContext): Failure {
  const seconds = Math.round(Math.abs(aheadMs) / 1000);
  const isAhead = aheadMs > 0;
  return {
    kind: 'clock',
    message: `the clock of vault at ${conf.endpoint} is ${seconds} s ${isAhead ? 'ahead of' : 'behind'} ours: its certificate is valid from ${notBefore.toISOString()} to ${notAfter.toISOString()}`,
    fix: 'timedatectl status; compare both clocks with a third and correct the one that is wrong; proxies need the same time, too',
  };
}

function neverValid({ notBefore, notAfter }: Certificate, now: Date, { conf }: ValidityContext): Failure {
  return {
    kind: 'role',
    message: `role ${conf.role} of ${conf.pki} gives certificates that are not valid now (${now.toISOString()}): from ${notBefore.toISOString()} to ${notAfter.toISOString()}`,
    fix: inNamespace(
      `vault read ${conf.pki}/roles/${conf.role}; look at ttl, not_after and not_before_duration`,
      conf.namespace,
    ),
  };
}
