import type { TestCluster } from '../test/fakes/kubernetes/test-cluster.ts';

export interface KubernetesOptions {
  /** Told what is used. Default: nobody. */
  print?(line: string): void;
}

/** A real kube-apiserver and etcd of the folder that `KUBEBUILDER_ASSETS` names. */
export async function startKubernetes(_options: KubernetesOptions = {}): Promise<TestCluster> {
  throw new Error('being built');
}
