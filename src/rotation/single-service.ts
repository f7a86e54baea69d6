import type { CallOptions } from '../issuer/issuer.ts';
import { enabledBackendOf } from '../mesh/mtls.ts';
import type { Store } from '../store/store.ts';
import { parseCertificate } from '../x509/certificate.ts';
import { X509Error } from '../x509/x509-error.ts';
import { fingerprintsOf } from './change.ts';
import type { Fleet, FleetMember } from './fleet.ts';
import { createTrustCheck } from './measure.ts';
import type { StepChange } from './step-changes.ts';
import type { Look } from './step-look.ts';

/** A service with more data planes waits like everybody else: each certificate has to be read. */
const MOST_CERTIFICATES = 256;

/**
 * Whether the mesh has one service at most, and nothing is wrong with it (Kong Mesh 2.6.0: a change "is allowed when there is only one service and no
 * existing certificate issues"): all unexpired certificates carry together one `spiffe://` identity, and every data plane that is online has a
 * certificate of a backend of the mesh and trusts the roots of the backend that issues, or never told a bundle, because it gets it with its certificate.
 */
export async function isSingleService(
  { step, fleet, store }: Look,
  _change: StepChange,
  options: CallOptions,
): Promise<boolean> {
  const { mtls } = step.before;
  const names = new Set(mtls?.backends.map(({ name }) => name));
  const issuing = fingerprintsOf(fleet.bundle, enabledBackendOf(mtls)?.name ?? '');
  if (issuing === undefined) return false;
  const trusts = createTrustCheck(issuing);
  const isWell = ({ certificate, unheard, refusal, heldVersion, heldRoots }: FleetMember) =>
    certificate !== undefined &&
    !unheard &&
    refusal === undefined &&
    names.has(certificate.backend) &&
    (heldVersion === undefined || trusts(heldRoots));
  if (!fleet.members.every((member) => !member.online || isWell(member))) return false;
  return hasOneIdentity(fleet, store, options);
}

/** One by one, because the second certificate of a mesh tells most often. */
async function hasOneIdentity(
  { mesh, members }: Fleet,
  store: Pick<Store, 'getCertificate'>,
  { signal }: CallOptions,
): Promise<boolean> {
  const holders = members.filter(({ certificate }) => certificate !== undefined);
  if (holders.length > MOST_CERTIFICATES) return false;
  const identities = new Set<string>();
  for (const { dataplane } of holders) {
    signal.throwIfAborted();
    const stored = await store.getCertificate(mesh, dataplane);
    if (stored === undefined) continue;
    const spiffeIds = spiffeIdsOf(stored.leaf);
    if (spiffeIds === undefined) return false;
    for (const uri of spiffeIds) identities.add(uri);
    if (identities.size > 1) return false;
  }
  return true;
}

/** Undefined: no certificate that could be read. */
function spiffeIdsOf(leaf: Buffer): readonly string[] | undefined {
  try {
    return parseCertificate(leaf).uriSans.filter((uri) => uri.startsWith('spiffe://'));
  } catch (error) {
    if (error instanceof X509Error) return undefined;
    throw error;
  }
}
