import { isMeant } from './fault-rules.ts';
import type { ClusterUser, Verb } from './test-cluster.ts';

/** Counts requests about CertificateRequests of the users under test. */
export interface ClusterCountsByUser {
  readonly requests: Readonly<Record<Verb, number>>;
  readonly watchesOpened: number;
  count(user: ClusterUser, verb: Verb): void;
  countWatch(user: ClusterUser): void;
}

export function createCounts(): ClusterCountsByUser {
  const requests: Record<Verb, number> = {
    create: 0,
    get: 0,
    list: 0,
    watch: 0,
    update: 0,
    patch: 0,
    delete: 0,
    deletecollection: 0,
  };
  let watchesOpened = 0;
  return {
    requests,
    get watchesOpened() {
      return watchesOpened;
    },
    count(user, verb) {
      if (isMeant(user, undefined)) requests[verb] += 1;
    },
    countWatch(user) {
      if (isMeant(user, undefined)) watchesOpened += 1;
    },
  };
}
