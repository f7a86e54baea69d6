import { hash } from 'node:crypto';
import type { Backend } from '../backends/backend.ts';
import { NotFoundError, RequestInvalidError } from '../issuer/errors.ts';
import type { Identity, Tags } from '../issuer/issuer.ts';
import { parseDataplane, tagsOf } from '../mesh/dataplane.ts';
import { RESERVED_NAME, uriSansOf } from '../mesh/identity.ts';
import { SERVICE_TAG } from '../mesh/tags.ts';
import type { Store } from '../store/store.ts';
import type { Profile } from '../x509/profile.ts';

/**
 * Tags of a data plane from its resource.
 * @throws RequestInvalidError when there is none: the caller has to send tags then
 */
export async function storedTags(store: Store, mesh: string, dataplane: string): Promise<Tags> {
  const stored = await store.getResource({ type: 'Dataplane', mesh, name: dataplane });
  if (stored === undefined) {
    throw new RequestInvalidError(
      `no tags sent, and there is no data plane "${dataplane}" in mesh "${mesh}" to take them from`,
      {
        violations: [{ field: 'tags', message: `has to be set, or a Dataplane "${dataplane}" has to exist` }],
        fix: 'send {"tags": {"kuma.io/service": "NAME"}}, or put the Dataplane first: mesh-ca apply -f DATAPLANE.yaml',
        cause: new NotFoundError(`dataplane "${dataplane}" not found`),
      },
    );
  }
  return tagsOf(parseDataplane(JSON.parse(stored.body), { mesh, name: dataplane }));
}

/**
 * Everything the certificate says about its holder.
 * @throws RequestInvalidError when the tags give no SPIFFE ID or a reserved one, or the backend's commonName template cannot be rendered
 */
export function identityOf(backend: Backend, dataplane: string, tags: Tags, profile: Profile): Identity {
  const { mesh } = backend;
  if (dataplane === RESERVED_NAME || tags.get(SERVICE_TAG)?.includes(RESERVED_NAME) === true)
    throw isReserved(dataplane);
  const uriSans = uriSansOf(mesh, tags, profile, dataplane);
  return { mesh, dataplane, tags, uriSans, ...backend.subject({ mesh, dataplane, tags }) };
}

function isReserved(dataplane: string): RequestInvalidError {
  return new RequestInvalidError(
    `data plane ${JSON.stringify(dataplane)} asks for the name "${RESERVED_NAME}", which is that of test certificates`,
    { fix: `give data plane and service another name than ${RESERVED_NAME}` },
  );
}

/** Equal for equal names in the certificate; says nothing about tags that do not show in it. */
export function identityHash({ uriSans, dnsNames, commonName }: Omit<Identity, 'mesh' | 'dataplane' | 'tags'>): string {
  return hash('sha256', JSON.stringify([uriSans, dnsNames, commonName]));
}
