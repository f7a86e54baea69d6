import {
  AccessDeniedError,
  type CaError,
  ConfigError,
  ConflictError,
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

/**
 * Refuses the streams whose credentials prove nothing any more: expired, revoked, under a root that is gone.
 * @param again something may have changed that they are proven by
 */
export async function checkProofs(
  streams: readonly SdsStream[],
  nowMs: number,
  again: boolean,
  options: CallOptions,
  refuse: Refuse,
): Promise<void> {
  for (const stream of streams) {
    try {
      // Roots are no secret, and who does not get the next ones breaks connections: time alone does not end what asks for them only.
      if (!stream.subscriptions.wants('identity') && isOver(stream)) continue;
      stream.proof.checkTime();
      if (!again && nowMs - stream.provenAtMs < PROVEN_FOR_MS) continue;
      await stream.proof.again(options);
      stream.provenAtMs = nowMs;
    } catch (error) {
      if (!(error instanceof UnauthenticatedError)) throw error;
      refuse(stream, error);
    }
  }
}

function isOver({ proof }: SdsStream): boolean {
  try {
    proof.checkTime();
    return false;
  } catch (error) {
    if (!(error instanceof UnauthenticatedError)) throw error;
    return true;
  }
}

/** Who of a data plane's streams may be one of it. */
export interface Entitlement {
  /** Undefined: nobody says any. */
  readonly tags: Tags | undefined;
  /** They stand in the Dataplane resource. */
  readonly isStored: boolean;
  /** Those that may be none of its streams. */
  readonly refused: ReadonlyMap<SdsStream, CaError>;
}

/**
 * The tags of a data plane, and the streams whose credentials do not cover them. Without a Dataplane resource each stream is judged by the tags that it
 * tells itself, and all have to tell the same: those whose credentials name the data plane count most, then those that came first, so that nobody with
 * a token of another service takes its place.
 */
export async function entitle(
  who: ProxyName,
  streams: readonly SdsStream[],
  store: Pick<Store, 'getResource'>,
): Promise<Entitlement> {
  const { mesh, dataplane } = who;
  const refused = new Map<SdsStream, CaError>();
  const stored = await store.getResource({ type: 'Dataplane', mesh, name: dataplane });
  if (stored !== undefined) {
    const tags = tagsOf(parseDataplane(JSON.parse(stored.body), { mesh, name: dataplane }));
    for (const stream of streams) judge(stream, refused, () => stream.proof.allow(tags, 'resource'));
    return { tags, isStored: true, refused };
  }
  let tags: Tags | undefined;
  for (const stream of [...streams].sort((a, b) => Number(b.proof.provesName) - Number(a.proof.provesName))) {
    judge(stream, refused, () => {
      if (tellsNothing(stream)) {
        if (stream.subscriptions.wants('identity') || !stream.proof.provesName) throw nobodyKnows(who);
        return;
      }
      const own = readTags(stream.node.tags);
      stream.proof.allow(own, 'proxy');
      tags ??= own;
      if (tagsKey(own) !== tagsKey(tags)) throw tellsOther(who);
    });
  }
  return { tags, isStored: false, refused };
}

/** Equal for equal tags. */
export function tagsKey(tags: Tags): string {
  return JSON.stringify([...tags]);
}

function judge(stream: SdsStream, refused: Map<SdsStream, CaError>, look: () => void): void {
  try {
    look();
  } catch (error) {
    const isRefusal =
      error instanceof AccessDeniedError ||
      error instanceof NotFoundError ||
      error instanceof RequestInvalidError ||
      error instanceof ConflictError;
    if (!isRefusal) throw error;
    refused.set(stream, error);
  }
}

const tellsNothing = ({ node: { tags } }: SdsStream) => tags === undefined || tags.size === 0;

function nobodyKnows({ mesh, dataplane }: ProxyName): NotFoundError {
  return new NotFoundError(
    `there is no data plane "${dataplane}" in mesh "${mesh}", and the proxy's node.metadata.tags name no tags`,
    {
      fix: 'put the Dataplane first: mesh-ca apply -f DATAPLANE.yaml; or set node.metadata.tags in the bootstrap, such as {"kuma.io/service": "NAME"}',
    },
  );
}

function tellsOther({ mesh, dataplane }: ProxyName): ConflictError {
  return new ConflictError(`data plane "${dataplane}" of mesh "${mesh}" is connected already, with other tags`, {
    fix: 'end the proxy from before, or give each its own name; or put a Dataplane, whose tags count for all: mesh-ca apply -f DATAPLANE.yaml',
  });
}

function readTags(told: ReadonlyMap<string, readonly string[]> = new Map()): Tags {
  try {
    return createTags(told);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const [first] = error.violations;
    const what = plainText(`${first?.field ?? 'tags'}: ${first?.message ?? 'not accepted'}`, 300);
    throw new RequestInvalidError(`node.metadata.tags not accepted: ${what}`, { fix: 'correct them in the bootstrap' });
  }
}
