import type { Backend } from '../backends/backend.ts';
import type { Identity, Tags } from '../issuer/issuer.ts';
import { RESERVED_NAME, uriSansOf } from '../mesh/identity.ts';
import { PROTOCOL_TAG, SERVICE_TAG } from '../mesh/tags.ts';
import type { Profile } from '../x509/profile.ts';

/** Name and service of the data plane that test certificates are for. */
const TEST_DATAPLANE = RESERVED_NAME;

/** Short, as values of tags are (`v1`, `eu`): a template that joins many of them must not fail for their length alone. */
const OTHER_TAG = 'test';

/** Answers for every tag that a template may ask for; only those that it really holds become SANs. */
class AnyTags extends Map<string, readonly string[]> {
  override get(name: string): readonly string[] {
    return super.get(name) ?? [OTHER_TAG];
  }
}

const TEST_TAGS: Tags = new AnyTags([
  [PROTOCOL_TAG, ['tcp']],
  [SERVICE_TAG, [TEST_DATAPLANE]],
]);

/**
 * Whom a test certificate is for: names of every kind that a data plane of this mesh and backend has.
 * @throws RequestInvalidError when the mesh's name or the backend's templates give no identity
 */
export function testIdentity(backend: Backend, profile: Profile): Identity {
  const who = { mesh: backend.mesh, dataplane: TEST_DATAPLANE, tags: TEST_TAGS };
  return { ...who, uriSans: uriSansOf(backend.mesh, TEST_TAGS, profile, TEST_DATAPLANE), ...backend.subject(who) };
}
