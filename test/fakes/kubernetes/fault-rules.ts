import type { Fault, FaultRule } from './faults.ts';
import type { ClusterUser, UserName, Verb } from './test-cluster.ts';

/** Those who keep the cluster going: faults meet them only where they are named. */
const NOT_UNDER_TEST: readonly string[] = ['admin', 'cert-manager'];

export function isMeant(user: ClusterUser | undefined, users: readonly UserName[] | undefined): boolean {
  if (users !== undefined) return user !== undefined && users.some((name) => name === user.name);
  return !NOT_UNDER_TEST.includes(user?.name ?? '');
}

export interface FaultRules {
  add(rule: FaultRule): () => void;
  clear(): void;
  readonly struck: number;
  /** What happens to this request. `verb`: undefined when it is not about CertificateRequests. */
  next(user: ClusterUser | undefined, verb: Verb | undefined): Fault | undefined;
}

export function createFaultRules(): FaultRules {
  const rules = new Set<{ readonly rule: FaultRule; seen: number; struck: number }>();
  let struck = 0;
  return {
    add(rule) {
      const entry = { rule, seen: 0, struck: 0 };
      rules.add(entry);
      return () => void rules.delete(entry);
    },
    clear: () => rules.clear(),
    get struck() {
      return struck;
    },
    next(user, verb) {
      for (const entry of rules) {
        const { verbs, users, times = Number.POSITIVE_INFINITY, every = 1, fault } = entry.rule;
        if (!isMeant(user, users)) continue;
        if (verbs !== undefined && (verb === undefined || !verbs.includes(verb))) continue;
        entry.seen += 1;
        if (entry.seen % every !== 0 || entry.struck >= times) continue;
        entry.struck += 1;
        struck += 1;
        return fault;
      }
      return undefined;
    },
  };
}
