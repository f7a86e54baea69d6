import { NETWORK_CODES } from '../shared/network-codes.ts';
import type { FailureKind } from './failure.ts';

/** What a call was about, as far as messages need it. */
export interface CallContext {
  /** Address of the API server; '' when it is not known yet. */
  readonly server: string;
  readonly verb: Verb;
  readonly namespace: string;
}

/** RBAC's verb on CertificateRequests; `review` is asking for the rights themselves, `look` looking at the namespace. */
export type Verb = 'create' | 'get' | 'list' | 'watch' | 'delete' | 'review' | 'look';

export interface Rule {
  readonly kind: FailureKind;
  readonly message: string;
  /** It may be about the names of one data plane. */
  readonly ofRequest?: true;
  fix(context: CallContext): string;
}

const RBAC = 'kubectl apply -f policies/kubernetes/';
const CREDENTIALS =
  'check the user of the current context (kubectl auth whoami), or the service account of the Pod; a renewed token is noticed by itself';

/** By the code of Node's, OpenSSL's or undici's error; the first that matches. */
export const NETWORK_RULES: readonly (Rule & { readonly codes: RegExp })[] = [
  {
    codes: NETWORK_CODES.refused,
    kind: 'unreachable',
    message: 'refuses connections',
    fix: () => 'start the API server, or correct `server` in the kubeconfig',
  },
  {
    codes: NETWORK_CODES.unresolved,
    kind: 'unreachable',
    message: 'has a host name that cannot be resolved',
    fix: () => 'correct `server` in the kubeconfig, or the DNS of this machine',
  },
  {
    codes: NETWORK_CODES.unreachable,
    kind: 'unreachable',
    message: 'cannot be reached over the network',
    fix: () => 'open the way (routes, firewalls, network policies) to the API server',
  },
  {
    codes: /^UND_ERR_(HEADERS|BODY)_TIMEOUT$/,
    kind: 'timeout',
    message: 'gives no answer',
    fix: () => 'look at the load of the API server and of etcd, and at the network to it',
  },
  {
    codes: NETWORK_CODES.outdated,
    kind: 'tls',
    message: 'shows a TLS certificate outside its validity',
    fix: () => 'renew the certificate of the API server, or correct the clock of this machine',
  },
  {
    codes: NETWORK_CODES.otherName,
    kind: 'tls',
    message: 'shows a TLS certificate for another name',
    fix: () =>
      'set `tls-server-name` of the cluster in the kubeconfig to a name in that certificate, or correct `server`',
  },
  {
    codes: NETWORK_CODES.untrusted,
    kind: 'tls',
    message: 'shows a TLS certificate that is not trusted',
    fix: () => 'set `certificate-authority` of the cluster in the kubeconfig to the CA of the API server',
  },
  {
    codes: NETWORK_CODES.noTls,
    kind: 'tls',
    message: 'does not speak TLS as expected, or refuses the client certificate',
    fix: () => 'check the port in `server` and the client certificate in the kubeconfig',
  },
  {
    codes: NETWORK_CODES.noHttp,
    kind: 'malformed',
    message: 'does not speak HTTP',
    fix: () => 'check that `server` in the kubeconfig is a Kubernetes API server, with https where it has TLS',
  },
  {
    codes: NETWORK_CODES.tooLarge,
    kind: 'malformed',
    message: 'sent an answer larger than 32 MiB',
    fix: ({ namespace }) => `delete old CertificateRequests: kubectl -n ${namespace} get certificaterequests`,
  },
];

export const NETWORK_DEFAULT: Rule = {
  kind: 'broken',
  message: 'broke the connection',
  fix: () => 'look at the log of the API server and at what stands between it and mesh-ca',
};

/** By what the server says; asked before the status alone. The first that matches both. */
export const TEXT_RULES: readonly (Rule & { readonly status: RegExp; readonly text: RegExp })[] = [
  {
    status: /^5\d\d$/,
    text: /failed calling webhook/i,
    kind: 'webhook',
    message: 'cannot reach the admission webhook',
    fix: () => 'look at it: kubectl -n cert-manager get pods,endpointslices -l app.kubernetes.io/name=webhook',
  },
  {
    status: /^4\d\d$/,
    text: /admission webhook .* denied|ValidatingAdmissionPolicy/is,
    kind: 'denied',
    ofRequest: true,
    message: 'has an admission rule that refuses the CertificateRequest',
    fix: () =>
      'change what is asked for as it says, or let the rule allow it: kubectl get validatingwebhookconfigurations',
  },
  {
    status: /^403$/,
    text: /being terminated/i,
    kind: 'absent',
    message: 'is deleting the namespace',
    fix: ({ namespace }) =>
      `make the namespace again (kubectl create namespace ${namespace}), or set MESH_CA_SYSTEM_NAMESPACE`,
  },
  {
    status: /^403$/,
    text: /exceeded quota/i,
    kind: 'server',
    message: 'allows no further CertificateRequest by a quota',
    fix: ({ namespace }) => `raise it: kubectl -n ${namespace} describe resourcequota`,
  },
  {
    status: /^404$/,
    text: /namespaces? ".*" not found/i,
    kind: 'absent',
    message: 'has no such namespace',
    fix: ({ namespace }) =>
      `make it (kubectl create namespace ${namespace}), or set MESH_CA_SYSTEM_NAMESPACE to the one that is meant`,
  },
  {
    status: /^404$/,
    text: /could not find the requested resource|page not found|no matches for kind/i,
    kind: 'absent',
    message: 'does not know CertificateRequests of cert-manager.io/v1',
    fix: () =>
      'install cert-manager in this cluster (kubectl get crd certificaterequests.cert-manager.io), or correct the kubeconfig',
  },
];

/** By status; the first whose range holds it. */
export const STATUS_RULES: readonly (Rule & { readonly from: number; readonly to: number })[] = [
  {
    from: 300,
    to: 399,
    kind: 'malformed',
    message: 'answers with a redirect, which is never followed because the credentials would go along',
    fix: () => 'set `server` in the kubeconfig to the API server itself',
  },
  { from: 401, to: 401, kind: 'unauthenticated', message: 'does not accept the credentials', fix: () => CREDENTIALS },
  {
    from: 403,
    to: 403,
    kind: 'forbidden',
    message: 'gives no right to do this',
    fix: ({ verb, namespace }) =>
      verb === 'review'
        ? 'bind the ClusterRole system:basic-user to authenticated users again'
        : `give the right ${verb} on certificaterequests.cert-manager.io in ${namespace}: ${RBAC}`,
  },
  {
    from: 404,
    to: 404,
    kind: 'gone',
    message: 'no longer has this object',
    fix: () => 'find out who deletes CertificateRequests of mesh-ca',
  },
  {
    from: 409,
    to: 409,
    kind: 'conflict',
    message: 'has something else under this name',
    fix: () => 'ask again',
  },
  {
    from: 410,
    to: 410,
    kind: 'expired',
    message: 'no longer knows the state that was asked for',
    fix: () => 'ask again',
  },
  {
    from: 413,
    to: 413,
    kind: 'invalid',
    message: 'finds the request too large',
    fix: () => 'send a CSR with fewer names, or fewer dnsNames',
  },
  {
    from: 429,
    to: 429,
    kind: 'rate-limited',
    message: 'limits the rate of requests',
    fix: () => 'give mesh-ca a FlowSchema with a priority level of its own, or wait',
  },
  {
    from: 400,
    to: 499,
    kind: 'invalid',
    message: 'finds the CertificateRequest not valid',
    fix: () => 'change what is asked for as it says',
  },
  {
    from: 500,
    to: 599,
    kind: 'server',
    message: 'is not available',
    fix: () => 'look at the API server and etcd: kubectl get --raw /readyz?verbose',
  },
];

export const UNKNOWN_STATUS: Rule = {
  kind: 'malformed',
  message: 'answers with an unexpected status',
  fix: () => 'check that `server` in the kubeconfig is a Kubernetes API server',
};
