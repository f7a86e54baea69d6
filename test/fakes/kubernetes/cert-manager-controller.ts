import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { createIssuingCa, type IssuingCa } from './cert-manager-ca.ts';
import { decide, type Makers, type Outcome } from './cert-manager-outcomes.ts';
import { type CertificateRequest, type Condition, findCondition } from './certificate-request.ts';
import { ApiError, createClusterClient } from './cluster-client.ts';
import { SYSTEM_NAMESPACE, type TestCluster } from './test-cluster.ts';

export type { Outcome } from './cert-manager-outcomes.ts';

export interface CertManagerControllerOptions {
  readonly cluster: TestCluster;
  /** Asked for each new request. Default: every request is issued. */
  readonly outcome?: (request: CertificateRequest) => Outcome;
  /** Requests it finishes in a second; a stock cert-manager manages about 7. Default: as many as it can. */
  readonly perSecond?: number;
  /** Between approval and the end. Default 0. */
  readonly delayMs?: number;
  /**
   * The issuer that exists. Default `mesh-ca-issuer`, an `Issuer` of cert-manager.io. Requests for others stay pending, as cert-manager leaves
   * them; those for another group are nobody's.
   */
  readonly issuer?: { readonly name: string; readonly kind?: string; readonly group?: string };
  /** Default: the real time. */
  readonly now?: () => Date;
}

export interface CertManagerController {
  /** PEM. */
  readonly rootPem: string;
  readonly intermediatePem: string;
  /** Requests that it has brought to an end, whatever end. */
  readonly finished: number;
  /** May be changed at any time; counts for requests that come later. */
  outcome: (request: CertificateRequest) => Outcome;
  /** A new root and a new intermediate from now on. */
  rotateCa(): Promise<void>;
  /** Nothing is approved or issued until `resume`; what waits is done then. */
  pause(): void;
  resume(): void;
  /** Idempotent. Ends its watch and connections. */
  close(): Promise<void>;
}

export const TEST_ISSUER = 'mesh-ca-issuer';

const AT_ONCE = 16;
const RETRY_MS = 100;

/**
 * Plays cert-manager: its approver and one CA issuer (an EC P-256 intermediate under a root). It talks to the cluster over its public API
 * alone, by a list and one watch, and goes on whatever becomes of the server.
 */
export async function startCertManagerController(
  options: CertManagerControllerOptions,
): Promise<CertManagerController> {
  const { cluster, perSecond, delayMs = 0, now = () => new Date() } = options;
  const issuer = { kind: 'Issuer', group: 'cert-manager.io', name: TEST_ISSUER, ...options.issuer };
  const client = await createClusterClient(await cluster.kubeconfigFor('cert-manager'), SYSTEM_NAMESPACE);
  const [firstCa, foreignCa, expiredCa] = await Promise.all([
    createIssuingCa(),
    createIssuingCa(),
    createIssuingCa('expired'),
  ]);
  let ca: IssuingCa = firstCa;
  let finished = 0;
  const ending = new AbortController();
  const { signal } = ending;
  // Each request that is worked on sleeps by it.
  setMaxListeners(0, signal);
  /** By uid: what waits, and what was taken up already. */
  const waiting = new Map<string, CertificateRequest>();
  const taken = new Set<string>();
  let isPaused = false;
  let busy = 0;
  let nextAtMs = 0;

  const condition: Makers['condition'] = (type, status, reason, message) => ({
    type,
    status,
    reason,
    message,
    lastTransitionTime: `${now().toISOString().slice(0, 19)}Z`,
  });

  function notice(request: CertificateRequest): void {
    const { uid } = request.metadata;
    if (taken.has(uid) || isFinal(request)) return;
    taken.add(uid);
    waiting.set(uid, request);
    work();
  }

  function forget({ metadata }: CertificateRequest): void {
    taken.delete(metadata.uid);
    waiting.delete(metadata.uid);
  }

  function work(): void {
    for (const [uid, request] of waiting) {
      if (isPaused || signal.aborted || busy >= AT_ONCE) return;
      waiting.delete(uid);
      busy += 1;
      handle(request)
        .catch(() => {})
        .finally(() => {
          busy -= 1;
          work();
        });
    }
  }

  /** Again and again until it is done, the object is gone, or this ends: a controller does not give up. */
  async function handle(request: CertificateRequest): Promise<void> {
    await pace();
    for (;;) {
      try {
        return await finish(request);
      } catch (error) {
        if (signal.aborted || (error instanceof ApiError && [404, 422].includes(error.status))) return;
        await sleep(RETRY_MS, undefined, { signal });
      }
    }
  }

  async function finish(request: CertificateRequest): Promise<void> {
    const { name } = request.metadata;
    const chosen = outcomeFor(request);
    if (chosen === undefined) return;
    const { approval, end } = decide(chosen, condition);
    if (approval === undefined || end === undefined) return;
    await client.patchStatus(name, { conditions: [approval] });
    if (delayMs > 0) await sleep(delayMs, undefined, { signal });
    const { conditions = [], ...status } = await end(request, { now: now(), ca, foreignCa, expiredCa, condition });
    await client.patchStatus(name, { ...status, conditions: [approval, ...conditions] });
    finished += 1;
  }

  function outcomeFor(request: CertificateRequest): Outcome | undefined {
    const { name, kind = 'Issuer', group = 'cert-manager.io' } = request.spec.issuerRef;
    if (group !== issuer.group) return undefined;
    return name === issuer.name && kind === issuer.kind ? controller.outcome(request) : 'no-issuer';
  }

  async function pace(): Promise<void> {
    if (perSecond === undefined) return;
    const nowMs = performance.now();
    nextAtMs = Math.max(nowMs, nextAtMs + 1000 / perSecond);
    if (nextAtMs > nowMs) await sleep(nextAtMs - nowMs, undefined, { signal });
  }

  async function follow(): Promise<void> {
    while (!signal.aborted) {
      try {
        const { items, resourceVersion } = await client.listAll();
        const present = new Set(items.map(({ metadata }) => metadata.uid));
        for (const uid of taken) if (!present.has(uid)) taken.delete(uid);
        for (const item of items) notice(item);
        await followFrom(resourceVersion);
      } catch {
        await sleep(RETRY_MS, undefined, { signal }).catch(() => {});
      }
    }
  }

  /** Watch after watch, until one tells an error: then everything is listed again. */
  async function followFrom(resourceVersion: string): Promise<void> {
    let version = resourceVersion;
    let isBroken = false;
    while (!isBroken && !signal.aborted) {
      await client.watchAll(
        version,
        ({ type, object }) => {
          if (type === 'ERROR') isBroken = true;
          else version = object.metadata.resourceVersion;
          if (type === 'ADDED') notice(object);
          if (type === 'DELETED') forget(object);
        },
        signal,
      );
    }
  }

  const controller: CertManagerController = {
    get rootPem() {
      return ca.rootPem;
    },
    get intermediatePem() {
      return ca.intermediatePem;
    },
    get finished() {
      return finished;
    },
    outcome: options.outcome ?? (() => 'issue'),
    async rotateCa() {
      ca = await createIssuingCa();
    },
    pause() {
      isPaused = true;
    },
    resume() {
      isPaused = false;
      work();
    },
    async close() {
      ending.abort();
      client.close();
      await following;
    },
  };
  const following = follow();
  return controller;
}

function isFinal(request: CertificateRequest): boolean {
  const ready: Condition | undefined = findCondition(request, 'Ready');
  return ready?.status === 'True' || ready?.reason === 'Failed' || ready?.reason === 'Denied';
}
