import type { Backend } from '../backends/backend.ts';
import type { MeshBackends } from '../backends/backends.ts';
import type { Identity } from '../issuer/issuer.ts';
import type { RecordOptions, StoredCertificate } from '../store/store.ts';
import type { TrustBundle } from '../trust/trust-bundle.ts';
import type { Csr } from '../x509/csr.ts';
import type { CertificateRequest } from './certificate-request.ts';
import type { Wanted } from './renewal.ts';

/** Everything known about a request before a backend is asked. */
export interface Task {
  readonly request: CertificateRequest;
  readonly from: MeshBackends;
  readonly backend: Backend;
  readonly identity: Identity;
  readonly identityHash: string;
  /** Undefined: a key pair has to be made. */
  readonly csr: Csr | undefined;
  readonly wanted: Wanted;
  readonly bundle: TrustBundle;
  readonly record: StoredCertificate | undefined;
}

/** Fields of a log line about it. */
export function labels({ backend, request }: Task): Readonly<Record<string, string>> {
  return { mesh: backend.mesh, backend: backend.name, type: backend.type, dataplane: request.dataplane };
}

/** What has to be there still when its certificate is stored: one with the tags of a Dataplane is for one that is there. */
export function requiredFor({ request: { mesh, dataplane, tags }, from }: Task): RecordOptions {
  const requires = tags === undefined ? [{ type: 'Dataplane', mesh, name: dataplane }] : [];
  return { requires, meshCreatedAt: from.createdAt };
}
