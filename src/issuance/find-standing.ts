import { StoreUnavailableError } from '../issuer/errors.ts';
import type { Log } from '../runtime/log.ts';
import type { CertificateRecord, Store } from '../store/store.ts';
import { rootsOf } from '../trust/trust-bundle.ts';
import type { TrustBundles } from '../trust/trust-bundles.ts';
import type { Profile } from '../x509/profile.ts';
import type { Outcome } from './certificate-request.ts';
import { readCurrent } from './read-current.ts';
import type { ReissuePlans } from './reissue-plan.ts';
import { dueReason } from './renewal.ts';
import { labels, requiredFor, type Task } from './task.ts';

export interface FindStandingOptions {
  readonly store: Store;
  readonly bundles: TrustBundles;
  readonly profile: Profile;
  readonly log: Log;
  /** What rotations say about certificates that are not new enough, or not old enough. Absent: there are none. */
  readonly plans?: ReissuePlans;
}

/** A certificate that makes a new one unnecessary. */
export interface Standing {
  readonly record: CertificateRecord;
  readonly outcome: Extract<Outcome, 'kept' | 'reused'>;
  /** When to ask again. */
  readonly renewAt: Date;
}

/**
 * @returns undefined when a new certificate is due
 * @throws RequestInvalidError when `current` is no certificate
 */
export async function findStanding(task: Task, options: FindStandingOptions): Promise<Standing | undefined> {
  const { request, record, csr } = task;
  if (request.force === true) return undefined;
  const held = request.currentDer ?? request.currentPem;
  if (held !== undefined) {
    const current = currentOf(task, held, options);
    const renewAt = current && standsUntil(current, task, options.plans);
    if (current !== undefined && renewAt !== undefined) {
      if (record === undefined || record.notBefore < current.notBefore) await adopt(task, current, options);
      return { record: current, outcome: 'kept', renewAt };
    }
  }
  const renewAt = csr && record && standsUntil(record, task, options.plans);
  return record === undefined || renewAt === undefined ? undefined : { record, outcome: 'reused', renewAt };
}

/** The caller's own certificate as a record. One that we do not know yet has to prove itself. */
function currentOf(
  task: Task,
  held: string | readonly Buffer[],
  { bundles, profile }: FindStandingOptions,
): CertificateRecord | undefined {
  const { backend, identity, identityHash, record, wanted, bundle } = task;
  return readCurrent(held, {
    ...{ identity, identityHash, backend, profile, record },
    at: wanted.now,
    roots: rootsOf(bundle, backend.name),
    intermediates: bundles.intermediates(backend),
  });
}

/**
 * When somebody who holds this certificate has to ask again; undefined: now. A rotation makes some due that stand otherwise (an old generation of
 * the CA), and lets others wait for their turn that are due only because another backend issues now.
 */
function standsUntil(record: CertificateRecord, task: Task, plans: ReissuePlans | undefined): Date | undefined {
  const { wanted, from, request } = task;
  const due = dueReason(record, wanted);
  const turn = plans?.of(request.mesh)?.(record, wanted.now);
  const isTurn = turn === 'due' || (turn !== undefined && turn <= wanted.now);
  if (due === undefined) return isTurn ? undefined : earlier(record.renewAt, turn);
  if (due !== 'backend-changed' || turn === undefined || isTurn) return undefined;
  const own = from.backends.get(record.backend);
  const isRightOtherwise =
    own !== undefined && dueReason(record, { ...wanted, backend: own.name, backendHash: own.hash }) === undefined;
  return isRightOtherwise ? earlier(record.renewAt, turn) : undefined;
}

function earlier(renewAt: Date, turn: Date | 'due' | undefined): Date {
  return turn instanceof Date && turn < renewAt ? turn : renewAt;
}

/** It stands whether or not it can be stored: the next request adopts it. */
async function adopt(task: Task, current: CertificateRecord, { store, log }: FindStandingOptions): Promise<void> {
  try {
    await store.recordCertificate(current, requiredFor(task));
  } catch (error) {
    if (!(error instanceof StoreUnavailableError)) throw error;
    log.warn({ ...labels(task), err: error }, 'the certificate that a data plane holds was not stored');
  }
}
