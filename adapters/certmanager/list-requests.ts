import type { CallOptions, KubernetesClient } from './client.ts';
import { failed, type Outcome } from './failure.ts';
import * as replies from './replies.ts';

export interface RequestList {
  readonly items: readonly replies.CertificateRequest[];
  /** Where a watch goes on. */
  readonly version: string;
}

/** Some 5 KB each. */
const PAGE_SIZE = 500;
const MAX_PAGES = 100;

/** All objects that the selector names, page by page: many may be left where deletions are refused. `timeoutMs` is for one page. */
export async function listRequests(
  client: Pick<KubernetesClient, 'list'>,
  selector: string,
  options: CallOptions,
): Promise<Outcome<RequestList>> {
  const items: replies.CertificateRequest[] = [];
  let continueToken: string | undefined;
  for (let page = 0; page < MAX_PAGES; page += 1) {
    const listed = await client.list(
      {
        ...{ schema: replies.requestList, selector, limit: PAGE_SIZE },
        ...(continueToken !== undefined && { continueToken }),
      },
      options,
    );
    if (!listed.ok) return listed;
    items.push(...listed.value.items);
    const { metadata } = listed.value;
    continueToken = metadata.continue || undefined;
    if (continueToken === undefined) return { ok: true, value: { items, version: metadata.resourceVersion } };
  }
  return failed({
    kind: 'malformed',
    message: `more than ${MAX_PAGES * PAGE_SIZE} CertificateRequests of this mesh-ca are in the cluster`,
    fix: 'find out why they are not deleted (mesh-ca needs the right delete: kubectl apply -f policies/kubernetes/)',
  });
}
