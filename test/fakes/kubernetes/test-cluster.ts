import type { ClusterClient } from './cluster-client.ts';
import type { ClusterFaults } from './faults.ts';

/** Where mesh-ca makes its CertificateRequests. */
export const SYSTEM_NAMESPACE = 'kong-mesh-system';

/** Namespaces of every test cluster. */
export const NAMESPACES: readonly string[] = ['default', 'kube-system', SYSTEM_NAMESPACE, 'other'];

export interface ClusterUser {
  /** Name that tests use. */
  readonly name: string;
  /** Name and groups that RBAC sees. */
  readonly username: string;
  readonly groups: readonly string[];
}

/** Who may log in. `mesh-ca` is the ServiceAccount that policies/kubernetes binds; `admin` and `cert-manager` may do everything. */
export const USERS: readonly ClusterUser[] = [
  { name: 'admin', username: 'admin', groups: ['system:masters'] },
  { name: 'cert-manager', username: 'cert-manager', groups: ['system:masters'] },
  serviceAccount('mesh-ca', SYSTEM_NAMESPACE),
  // A ServiceAccount that nothing binds.
  serviceAccount('nobody', 'default'),
];

export type UserName = 'admin' | 'cert-manager' | 'mesh-ca' | 'nobody';

function serviceAccount(name: string, namespace: string): ClusterUser {
  return {
    name,
    username: `system:serviceaccount:${namespace}:${name}`,
    groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`],
  };
}

export type Verb = 'create' | 'get' | 'list' | 'watch' | 'update' | 'patch' | 'delete' | 'deletecollection';

/** What was asked about CertificateRequests since the server started; the controller's requests and `admin`'s are not in it. */
export interface ClusterCounts {
  readonly requests: Readonly<Record<Verb, number>>;
  readonly watchesOpen: number;
}

/**
 * A Kubernetes API server with cert-manager's CertificateRequests, without cert-manager: `startCertManagerController` plays that. Two
 * implementations, the fake and a real kube-apiserver; whatever a test needs beyond this interface is not a test of an API server.
 */
export interface TestCluster {
  readonly kind: 'fake' | 'real';
  /** `https://127.0.0.1:<port>`, the same after `restart`. */
  readonly address: string;
  /** Path of a kubeconfig (mode 0600, in the cluster's temp folder) that logs in as this user. `via`: another address, of a proxy. */
  kubeconfigFor(user: UserName, via?: string): Promise<string>;
  /** What an administrator does beside the program under test. */
  readonly admin: ClusterClient;
  /** Replaces all roles and bindings by those of these YAML documents, and returns when they are in force. `loadPolicy()` gives the shipped ones. */
  setRbac(yaml: string): Promise<void>;
  counts(): Promise<ClusterCounts>;
  /** Ends the server; its data stay. Connections are cut. */
  stop(): Promise<void>;
  /** Starts it again, on the same port and with the same data. Ends it first when it runs. */
  restart(): Promise<void>;
  /** Switches that a real server does not have. */
  readonly faults?: ClusterFaults;
  /** Idempotent. */
  close(): Promise<void>;
}
