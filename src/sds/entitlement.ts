import {
  AccessDeniedError,
  type CaError,
  ConfigError,
  NotFoundError,
  RequestInvalidError,
  UnauthenticatedError,
} from '../issuer/errors.ts';
import type { CallOptions, Tags } from '../issuer/issuer.ts';
import { parseDataplane, tagsOf } from '../mesh/dataplane.ts';
import { createTags } from '../mesh/tags.ts';
import type { Store } from '../store/store.ts';
import { plainText } from '../text/plain-text.ts';
import type { ProxyName } from './proxy-name.ts';
import type { SdsStream } from './sds-stream.ts';

/** Ends a stream. */
export type Refuse = (stream: SdsStream, error: CaError) => void;

/** Credentials that were looked at so recently are not looked at again. */
const PROVEN_FOR_MS = 60_000;

/** Refuses the streams whose credentials prove nothing any more: expired, revoked, under a root that is gone. */
export async function checkProofs(
  streams: readonly SdsStream[],
  nowMs: number,
  options: CallOptions,
  refuse: Refuse,
): Promise<void> {
  for (const stream of streams) {
    try {
      stream.proof.checkTime();
      if (nowMs - stream.provenAtMs < PROVEN_FOR_MS) continue;
      await stream.proof.again(options);
      stream.provenAtMs = nowMs;
    } catch (error) {
      if (!(error instanceof UnauthenticatedError)) throw error;
      refuse(stream, error);
    }
  }
}

/**
 * Refuses the streams whose credentials do not cover the tags of their data plane, all of them when there are none; the others may be sent its key.
 * @returns undefined: those of the Dataplane resource
 */
export async function allowTags(
  who: ProxyName,
  streams: readonly SdsStream[],
  store: Pick<Store, 'getResource'>,
  refuse: Refuse,
): Promise<Tags | undefined> {
  const { mesh, dataplane } = who;
  const stored = await store.getResource({ type: 'Dataplane', mesh, name: dataplane });
  let tags: Tags;
  try {
    tags =
      stored === undefined
        ? toldTags(who, streams)
        : tagsOf(parseDataplane(JSON.parse(stored.body), { mesh, name: dataplane }));
  } catch (error) {
    if (!(error instanceof NotFoundError || error instanceof RequestInvalidError)) throw error;
    for (const stream of streams) refuse(stream, error);
    return undefined;
  }
  for (const stream of streams) {
    try {
      stream.proof.allow(tags, stored === undefined ? 'proxy' : 'resource');
      stream.isAllowed = true;
    } catch (error) {
      if (!(error instanceof AccessDeniedError)) throw error;
      refuse(stream, error);
    }
  }
  return stored === undefined ? tags : undefined;
}

/** What the proxy that came last says of itself. */
function toldTags({ mesh, dataplane }: ProxyName, streams: readonly SdsStream[]): Tags {
  const told = streams.at(-1)?.node.tags;
  if (told !== undefined && told.size > 0) return readTags(told);
  throw new NotFoundError(
    `there is no data plane "${dataplane}" in mesh "${mesh}", and the proxy's node.metadata.tags name no tags`,
    {
      fix: 'put the Dataplane first: mesh-ca apply -f DATAPLANE.yaml; or set node.metadata.tags in the bootstrap, such as {"kuma.io/service": "NAME"}',
    },
  );
}

function readTags(told: ReadonlyMap<string, readonly string[]>): Tags {
  try {
    return createTags(told);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const [first] = error.violations;
    const what = plainText(`${first?.field ?? 'tags'}: ${first?.message ?? 'not accepted'}`, 300);
    throw new RequestInvalidError(`node.metadata.tags not accepted: ${what}`, { fix: 'correct them in the bootstrap' });
  }
}
