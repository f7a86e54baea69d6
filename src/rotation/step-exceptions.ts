import type { CallOptions } from '../issuer/issuer.ts';
import { enabledBackendOf } from '../mesh/mtls.ts';
import type { CertificateHolder } from '../store/store.ts';
import { fingerprintsOf } from './change.ts';
import { isSingleService } from './single-service.ts';
import type { Step } from './step.ts';
import type { StepChange } from './step-changes.ts';
import type { Look } from './step-look.ts';

/** A case in which a step may be taken that would come too soon otherwise. */
export interface StepException {
  readonly name: string;
  /** The whole step is allowed; nothing is read. */
  ofStep?(step: Step): boolean;
  /** A certificate that does not keep its backend from being removed. */
  ofCertificate?(look: Look, certificate: CertificateHolder): boolean;
  /** Who is offline does not keep a backend from being removed. */
  ofOffline?(step: Step): boolean;
  /** This change is allowed. Asked last, of what would be refused. */
  ofChange?(look: Look, change: StepChange, options: CallOptions): boolean | Promise<boolean>;
}

export const STEP_EXCEPTIONS: readonly StepException[] = [
  {
    name: 'mTLS is off, before or after: no certificate is looked at',
    ofStep: ({ before, after }) =>
      enabledBackendOf(before.mtls) === undefined || enabledBackendOf(after.mtls) === undefined,
  },
  {
    name: 'mtls.skipValidation of the new Mesh: the operator answers for it',
    ofStep: ({ after }) => after.mtls?.skipValidation === true,
  },
  {
    name: '?force: data planes that are offline are not waited for when a backend is removed',
    ofOffline: ({ force }) => force,
  },
  {
    name: 'the certificate ends in roots that another backend keeps in the bundle',
    ofCertificate: ({ stayingRoots }, { rootHashes }) => isWithin(rootHashes, stayingRoots),
  },
  {
    name: 'the certificate ends in roots that have expired: nobody accepts it any more',
    ofCertificate: ({ expiredRoots }, { rootHashes }) => isWithin(rootHashes, expiredRoots),
  },
  {
    name: 'every root of the backend that issues has expired, and so has that of every certificate: nothing is left to break',
    ofChange: isAllExpired,
  },
  {
    name: 'a single service whose data planes have no trouble with their certificates: no other service is cut off',
    ofChange: isSingleService,
  },
];

function isAllExpired({ step, fleet, expiredRoots }: Look): boolean {
  const issuing = fingerprintsOf(fleet.bundle, enabledBackendOf(step.before.mtls)?.name ?? '');
  if (issuing === undefined || !isWithin([...issuing], expiredRoots)) return false;
  return fleet.members.every(({ certificate }) => !certificate || isWithin(certificate.rootHashes, expiredRoots));
}

/** Of nothing nothing is known. */
function isWithin(roots: readonly string[], known: ReadonlySet<string>): boolean {
  return roots.length > 0 && roots.every((root) => known.has(root));
}
