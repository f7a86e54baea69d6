import type { Blocker } from '../issuer/errors.ts';
import {
  type Wait,
  waitForBundle,
  waitForExpiry,
  waitForNewCertificate,
  waitForRoots,
  waitForUse,
  waitForWord,
} from './blocker-words.ts';
import type { BundleVersion, Fleet, FleetMember } from './fleet.ts';
import type { Change, Readiness } from './readiness.ts';

export interface MeasureOptions {
  /** When the step began: no blocker stands in its way since earlier. Absent: there is no such moment, they stand for as long as is known. */
  readonly since?: Date;
}

/**
 * How far a change has come. Pure.
 *
 * Who is `unheard` is believed what it said about its trust bundle, but not to use the certificate on record: it may never have got it.
 */
export function measure(fleet: Fleet, change: Change, { since }: MeasureOptions): Readiness {
  const counted = fleet.members.filter(({ online, certificate }) => online || certificate !== undefined);
  const online = counted.filter((member) => member.online);
  const block = (dataplane: string, wait: Wait): Blocker => ({
    dataplane,
    zone: '',
    waitingFor: wait.waitingFor,
    since: laterOf(since, wait.from) ?? fleet.readAt,
  });

  const notTrusting: Blocker[] = [];
  if (change.toRoots === undefined) notTrusting.push(block('', waitForRoots(change)));
  else {
    const trusts = createTrustCheck(change.toRoots);
    const needed = firstWith(fleet.versions, trusts);
    for (const member of online) {
      if (!trusts(member.heldRoots)) notTrusting.push(block(member.dataplane, waitForBundle(change, needed, member)));
    }
  }

  let usingNew = 0;
  const notSwitched: Blocker[] = [];
  const offlineOld: Blocker[] = [];
  for (const member of counted) {
    const wait = waitForChange(change, member);
    if (wait !== undefined) (member.online ? notSwitched : offlineOld).push(block(member.dataplane, wait));
    else if (member.online && member.certificate?.backend === change.to) usingNew += 1;
  }
  return {
    total: counted.length,
    online: online.length,
    trustingNew: change.toRoots === undefined ? 0 : online.length - notTrusting.length,
    usingNew: change.toRoots === undefined ? 0 : usingNew,
    usingOld: notSwitched.length,
    notTrusting,
    notSwitched,
    offlineOld,
  };
}

/** Why this member still needs the old roots, or may; undefined when it does not. */
function waitForChange(change: Change, member: FleetMember): Wait | undefined {
  const { certificate, online, unheard } = member;
  if (certificate === undefined) return undefined;
  if (change.isOld(certificate)) {
    return online ? waitForNewCertificate(change, certificate) : waitForExpiry(change, certificate);
  }
  const { inUse, before } = certificate;
  if (!inUse && (before === undefined || change.isOld(before))) return waitForUse(member, certificate);
  return unheard ? waitForWord() : undefined;
}

/** Whether a set of roots has all of `wanted`. Members that hold the same version share one set, which is looked at once. */
export function createTrustCheck(wanted: ReadonlySet<string>): (held: ReadonlySet<string>) => boolean {
  const known = new Map<ReadonlySet<string>, boolean>();
  return (held) => {
    let trusts = known.get(held);
    if (trusts === undefined) {
      trusts = [...wanted].every((root) => held.has(root));
      known.set(held, trusts);
    }
    return trusts;
  };
}

/** The first of those versions that have had all it takes ever since; undefined when the newest has not. */
function firstWith(
  newestFirst: readonly BundleVersion[],
  trusts: (held: ReadonlySet<string>) => boolean,
): BundleVersion | undefined {
  const without = newestFirst.findIndex(({ roots }) => !trusts(roots));
  return without < 0 ? newestFirst.at(-1) : newestFirst[without - 1];
}

function laterOf(a: Date | undefined, b: Date | undefined): Date | undefined {
  return a === undefined || (b !== undefined && b > a) ? b : a;
}
