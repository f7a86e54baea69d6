import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import type { KubernetesClient } from './client.ts';
import * as replies from './replies.ts';
import { EXPIRES_AT, LABELS, selectorOf } from './request-object.ts';

export interface SweepOptions {
  readonly client: Pick<KubernetesClient, 'list' | 'serverNow'>;
  /** Label of what this process made. */
  readonly instance: string;
  /** True for objects that this process still works on. */
  readonly isOurs: (name: string) => boolean;
  readonly remove: (name: string) => void;
  readonly log: IssuerDeps['log'];
}

/** An object without a readable annotation is nobody's any more after this. */
const UNMARKED_LIFE_MS = 15 * 60_000;
const PAGE_SIZE = 500;
const MAX_PAGES = 100;
const TIMEOUT_MS = 15_000;

/**
 * Deletes what a crashed mesh-ca left behind: objects of this process that it does not work on (a container that was started again keeps its Pod's
 * identity), and anybody's whose waiting time is over. Live ones of other replicas are in time: the annotation was written by the API server's
 * clock and is read by it, so clocks of replicas that differ do no harm.
 * @returns how many objects are left that may need a later sweep; undefined when the list could not be read
 */
export async function sweep(options: SweepOptions, signal: AbortSignal): Promise<number | undefined> {
  const { client, instance, isOurs, remove, log } = options;
  let left = 0;
  let removed = 0;
  let continueToken: string | undefined;
  for (let page = 0; page < MAX_PAGES; page += 1) {
    const listed = await client.list(
      {
        schema: replies.nameList,
        selector: selectorOf(),
        limit: PAGE_SIZE,
        metadataOnly: true,
        ...(continueToken === undefined ? {} : { continueToken }),
      },
      { signal, timeoutMs: TIMEOUT_MS },
    );
    if (!listed.ok) return undefined;
    const now = client.serverNow();
    for (const item of listed.value.items) {
      const { name } = item.metadata;
      if (isOurs(name)) continue;
      if (!isAbandoned(item, instance, now)) left += 1;
      else {
        removed += 1;
        remove(name);
      }
    }
    continueToken = listed.value.metadata.continue || undefined;
    if (continueToken === undefined) break;
  }
  if (removed > 0) log.info({ removed, left }, 'CertificateRequests that nobody waits for are deleted');
  return left;
}

/** Pure, for tests: may it go, at the API server's time `now`? */
function isAbandoned({ metadata }: replies.NamedObject, instance: string, now: Date): boolean {
  if (metadata.deletionTimestamp) return false;
  if (metadata.labels?.[LABELS.instance] === instance) return true;
  const expiresMs = Date.parse(metadata.annotations?.[EXPIRES_AT] ?? '');
  const createdMs = Date.parse(metadata.creationTimestamp ?? '');
  const unmarkedEndMs = (Number.isNaN(createdMs) ? now.getTime() : createdMs) + UNMARKED_LIFE_MS;
  return now.getTime() > (Number.isNaN(expiresMs) ? unmarkedEndMs : expiresMs);
}
