import { setMaxListeners } from 'node:events';
import { IssuerUnavailableError } from '../../src/issuer/errors.ts';
import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import { createKubernetesClient, type KubernetesClient } from './client.ts';
import type { IssuerRef } from './config.ts';
import { countFor, createSharedRequests, type SharedRequests } from './count-requests.ts';
import { createDeleteQueue, type DeleteQueue } from './delete-queue.ts';
import type { CertificateRequest } from './replies.ts';
import { createRequestWatch, type RequestWatch } from './request-watch.ts';
import { sweep } from './sweep.ts';

/** What was seen of the CA of an issuer with the last certificate. DER. */
export interface KnownCa {
  readonly roots: readonly Buffer[];
  readonly intermediates: readonly Buffer[];
  /** Earliest end on the way; no certificate may live longer. */
  readonly notAfter: Date;
}

/** What all certmanager backends of all meshes have in common: one cluster, one namespace. Costs nothing until it is used. */
export interface Cluster {
  readonly namespace: string;
  /** Label value of this process; the Pod's where there is one, so that a restarted container knows what it left behind. */
  readonly instance: string;
  readonly owner: { readonly name: string; readonly uid: string } | undefined;
  readonly client: KubernetesClient;
  readonly watch: RequestWatch;
  readonly deletions: DeleteQueue;
  knownCa(issuer: IssuerRef): KnownCa | undefined;
  noteCa(issuer: IssuerRef, ca: KnownCa): void;
  /** Somebody has a request; returns what ends that. Keeps the watch and the sweep going. */
  hold(): () => void;
  /** Sees to it that what a crash left behind is swept, also when no certificate is asked for. */
  touch(): void;
  close(): Promise<void>;
}

const SWEEP_INTERVAL_MS = 60_000;
const RETRY_SWEEP_MS = 10_000;
const MAX_KNOWN_CAS = 1_000;

type ClusterDeps = Pick<IssuerDeps, 'clock' | 'random' | 'log' | 'settings'>;

/** The one of this process, shared by all that hold it; what is asked by `value` counts for this backend. No I/O. */
export function acquireCluster(deps: IssuerDeps): { readonly value: Cluster; release(): Promise<void> } {
  const namespace = deps.settings.systemNamespace;
  const lease = deps.shared.acquire(`certmanager:cluster:${namespace}`, () => createCluster(namespace, deps));
  const { value: cluster } = lease;
  const leave = cluster.requests.join(deps.onRequest);
  return {
    value: { ...cluster, ...countFor(cluster, deps.onRequest) },
    async release() {
      await lease.release();
      leave();
    },
  };
}

interface SharedCluster extends Cluster {
  readonly requests: SharedRequests;
}

function createCluster(namespace: string, deps: ClusterDeps): SharedCluster {
  const { clock, random, log, settings } = deps;
  const owner =
    settings.podName !== '' && settings.podUid !== '' ? { name: settings.podName, uid: settings.podUid } : undefined;
  const instance = /^[A-Za-z0-9-]{1,63}$/.test(settings.podUid) ? settings.podUid : random.bytes(10).toString('hex');
  const requests = createSharedRequests();
  const client = createKubernetesClient(namespace, { clock, onRequest: requests.onRequest });
  const deletions = createDeleteQueue(client, deps);
  const following = new Set<string>();
  const onStranger = ({ name, uid }: CertificateRequest['metadata']) => {
    if (!following.has(name) && !deletions.wasDeleted(name, uid)) deletions.add(name);
  };
  const watch = createRequestWatch({ client, clock, random, log, instance, onStranger });
  const knownCas = new Map<string, KnownCa>();
  const closing = new AbortController();
  setMaxListeners(0, closing.signal);
  let holders = 0;
  let sweeping: Promise<void> | undefined;
  let hasSwept = false;
  let sweepAtMs = Number.NEGATIVE_INFINITY;

  /** While there are requests, and until nothing is left that may once have to go. */
  async function sweepOn(): Promise<void> {
    for (;;) {
      await clock.sleep(Math.max(0, sweepAtMs - clock.monotonicMs()), closing.signal);
      const left = await sweep(
        {
          ...{ client, instance, log },
          isOurs: (name) => following.has(name) || deletions.has(name),
          remove: (name) => deletions.add(name),
        },
        closing.signal,
      );
      hasSwept ||= left !== undefined;
      sweepAtMs = clock.monotonicMs() + (left === undefined ? RETRY_SWEEP_MS : SWEEP_INTERVAL_MS);
      if (holders === 0 && (left === undefined || left === 0)) return;
    }
  }

  function startSweep(): void {
    if (closing.signal.aborted) return;
    sweeping ??= sweepOn()
      .catch((error: unknown) => {
        if (!closing.signal.aborted) log.error({ err: error }, 'CertificateRequests not swept');
      })
      .finally(() => {
        sweeping = undefined;
      });
  }

  return {
    namespace,
    instance,
    owner,
    client,
    requests,
    watch: {
      ...watch,
      follow(name, tell) {
        following.add(name);
        const follow = watch.follow(name, tell);
        return {
          created: follow.created,
          end() {
            following.delete(name);
            follow.end();
          },
        };
      },
    },
    deletions,
    knownCa: (issuer) => knownCas.get(keyOf(issuer)),
    noteCa(issuer, ca) {
      const key = keyOf(issuer);
      const [oldest] = knownCas.keys();
      if (!knownCas.has(key) && knownCas.size >= MAX_KNOWN_CAS && oldest !== undefined) knownCas.delete(oldest);
      knownCas.set(key, ca);
    },
    hold() {
      const release = watch.hold();
      holders += 1;
      startSweep();
      return () => {
        holders -= 1;
        release();
      };
    },
    touch() {
      if (!hasSwept) startSweep();
    },
    async close() {
      closing.abort(new IssuerUnavailableError('is closed'));
      await watch.close();
      await deletions.close();
      await sweeping;
      await client.close();
    },
  };
}

export function keyOf({ group, kind, name }: IssuerRef): string {
  return `${group}/${kind}/${name}`;
}
