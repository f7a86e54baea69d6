import type { CertificateHolder } from '../store/store.ts';
import type { Refusal } from '../trust/holders.ts';
import type { BundleVersion, FleetMember } from './fleet.ts';
import type { Change } from './readiness.ts';

/** What a data plane is waited for, and from when on that is known. Undefined: for as long as anybody waits. */
export interface Wait {
  readonly waitingFor: string;
  readonly from: Date | undefined;
}

/** @param needed the first version that has all it takes; undefined: none has */
export function waitForBundle(change: Change, needed: BundleVersion | undefined, member: FleetMember): Wait {
  const { heldVersion, refusal } = member;
  const what = needed === undefined ? `a trust bundle with the roots of backend "${change.to}"` : bundleName(needed);
  const has = heldVersion === undefined ? 'has never said which one it holds' : `has ${heldVersion}`;
  const refused = refusedWords(refusal, 'trust bundle', needed && String(needed.version));
  return { waitingFor: `${what} (${has}${refused})`, from: needed?.madeAt };
}

export function waitForRoots({ to }: Change): Wait {
  return { waitingFor: `the roots of backend "${to}" (it has not told them yet)`, from: undefined };
}

export function waitForNewCertificate({ from, to }: Change, old: CertificateHolder): Wait {
  const waitingFor =
    from === to
      ? `a certificate of the new root of backend "${to}" (uses one of an old root)`
      : `a certificate of backend "${to}" (uses one of "${from}")`;
  return { waitingFor, from: old.issuedAt };
}

export function waitForUse({ online, refusal }: FleetMember, certificate: CertificateHolder): Wait {
  const refused = refusedWords(refusal, 'certificate', certificate.serialNumber);
  const offline = online ? '' : '; offline';
  return {
    waitingFor: `its new certificate to be in use (sent, not acknowledged${refused}${offline})`,
    from: certificate.issuedAt,
  };
}

export function waitForWord(): Wait {
  return { waitingFor: 'word from it (not heard of since mesh-ca started)', from: undefined };
}

export function waitForExpiry({ from, to }: Change, old: CertificateHolder): Wait {
  const whose = from === to ? `an old root of backend "${from}"` : `backend "${from}"`;
  return {
    waitingFor: `its certificate of ${whose} to expire at ${old.notAfter.toISOString()} (offline)`,
    from: old.issuedAt,
  };
}

function bundleName({ version }: BundleVersion): string {
  return `trust bundle ${version}`;
}

function refusedWords(refusal: Refusal | undefined, what: Refusal['what'], version: string | undefined): string {
  if (refusal?.what !== what) return '';
  const which = refusal.version === version ? 'it' : refusal.version;
  return `; refused ${which}: ${JSON.stringify(refusal.message)}`;
}
