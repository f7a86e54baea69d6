import { RequestInvalidError } from '../issuer/errors.ts';
import type { Tags } from '../issuer/issuer.ts';
import { SERVICE_TAG } from './tags.ts';

/** Data plane and service of test certificates, in every mesh: no real data plane may be called so. */
export const RESERVED_NAME = 'mesh-ca-test';

const MAX_SANS = 256;
/** SPIFFE-ID.md 2.3. */
const MAX_URI_BYTES = 2048;
const MAX_TRUST_DOMAIN = 255;
const TRUST_DOMAIN = /^[a-z0-9._-]+$/;
const PATH_SEGMENT = /^[a-zA-Z0-9._-]+$/;
const TAG_NAME = /^[a-zA-Z0-9.\-_:/]+$/;
const TAG_VALUE = /^[a-zA-Z0-9.\-_:]+$/;

/**
 * The URI SANs that say who a data plane is, in Kuma's order: `spiffe://<mesh>/<service>` for each service (sorted), then, with the profile
 * `kuma`, `kuma://<tag>/<value>` for each value of each tag (sorted). The profile `spiffe` gives exactly one SPIFFE ID (X509-SVID 2).
 * SPIFFE IDs follow SPIFFE-ID 2.1 and 2.2: nothing is escaped, what does not fit is refused.
 *
 * @param dataplane its name, for the messages
 * @throws RequestInvalidError
 */
export function uriSansOf(mesh: string, tags: Tags, profile: 'kuma' | 'spiffe', dataplane?: string): string[] {
  const who = dataplane === undefined ? 'dataplane' : `dataplane ${JSON.stringify(dataplane)}`;
  if (!TRUST_DOMAIN.test(mesh) || mesh.length > MAX_TRUST_DOMAIN) {
    throw new RequestInvalidError(
      `mesh name ${JSON.stringify(mesh)} is not a valid SPIFFE trust domain: at most ${MAX_TRUST_DOMAIN} lower-case letters, digits, dots, dashes and underscores`,
      { fix: 'use a mesh with such a name' },
    );
  }
  const services = sorted(tags.get(SERVICE_TAG) ?? []);
  if (services.length === 0) {
    throw new RequestInvalidError(
      `${who} has no kuma.io/service tag and no kuma.io/workload label, cannot derive mTLS identity`,
      { fix: 'add the tag kuma.io/service to the data plane, or send it with the request' },
    );
  }
  if (profile === 'spiffe' && services.length > 1) {
    throw new RequestInvalidError(
      `${who} has ${services.length} values of the tag kuma.io/service (${services.slice(0, 8).join(', ')}), but a certificate of the profile "spiffe" has exactly one SPIFFE ID (X509-SVID 2)`,
      { fix: 'give the data plane one service, or use the profile "kuma"' },
    );
  }
  const sans = services.map((service) => spiffeId(mesh, service, who));
  if (profile === 'kuma') {
    for (const name of sorted(tags.keys())) {
      for (const value of sorted(tags.get(name) ?? [])) sans.push(kumaUri(name, value, who));
    }
  }
  if (sans.length > MAX_SANS) {
    throw new RequestInvalidError(
      `${who} has tags for ${sans.length} URI SANs, at most ${MAX_SANS} fit a certificate`,
      {
        fix: 'remove tags that no policy needs',
      },
    );
  }
  return sans;
}

function spiffeId(mesh: string, service: string, who: string): string {
  if (!PATH_SEGMENT.test(service) || service === '.' || service === '..') {
    throw new RequestInvalidError(
      `${who}: kuma.io/service ${JSON.stringify(service)} is not a valid SPIFFE path segment: letters, digits, dots, dashes and underscores only`,
      { fix: 'rename the service' },
    );
  }
  return checkLength(`spiffe://${mesh}/${service}`, who);
}

function kumaUri(name: string, value: string, who: string): string {
  if (!TAG_NAME.test(name) || !TAG_VALUE.test(value)) {
    throw new RequestInvalidError(
      `${who}: tag ${JSON.stringify(name)} with value ${JSON.stringify(value)} does not fit a URI: letters, digits, dots, dashes, underscores and colons only, slashes in the name`,
      { fix: 'rename the tag or its value' },
    );
  }
  if (!isReadableHost(name.split('/', 1)[0] ?? '')) {
    throw new RequestInvalidError(
      `${who}: tag ${JSON.stringify(name)} does not fit a URI: what stands before the first slash must read as a host name`,
      { fix: 'rename the tag: no dot at its start or end, no two dots in a row, no colon' },
    );
  }
  return checkLength(`kuma://${name}/${value}`, who);
}

/**
 * Whether Go's crypto/x509, which every Go proxy and client uses, reads a certificate with this host in a URI SAN: it refuses the whole
 * certificate when a label of the host is empty or the port is no number.
 */
function isReadableHost(authority: string): boolean {
  const [host = '', ...port] = authority.split(':');
  if (port.length > 1 || (port[0] !== undefined && !/^[0-9]*$/.test(port[0]))) return false;
  return authority === '' || host.split('.').every((label) => label !== '');
}

function checkLength(uri: string, who: string): string {
  if (uri.length > MAX_URI_BYTES) {
    throw new RequestInvalidError(
      `${who}: a URI SAN would have ${uri.length} characters, at most ${MAX_URI_BYTES} are allowed`,
    );
  }
  return uri;
}

function sorted(values: Iterable<string>): string[] {
  return [...new Set(values)].sort();
}
