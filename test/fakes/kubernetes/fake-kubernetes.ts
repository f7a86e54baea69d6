import type { ClusterFaults } from './faults.ts';
import type { TestCluster } from './test-cluster.ts';

export interface FakeKubernetesOptions {
  /** Default: the real time. */
  readonly now?: () => Date;
  /** Default: those of policies/kubernetes. */
  readonly rbac?: string;
  /** Changes that a watch can begin before. Default 10,000. */
  readonly historySize?: number;
  /** Default 60 s, as a real server's about one a minute. */
  readonly bookmarkIntervalMs?: number;
}

export interface FakeKubernetes extends TestCluster {
  readonly kind: 'fake';
  readonly faults: ClusterFaults;
}

/** A behaving API server over HTTPS with a CA of its own. */
export async function startFakeKubernetes(_options: FakeKubernetesOptions = {}): Promise<FakeKubernetes> {
  throw new Error('being built');
}
