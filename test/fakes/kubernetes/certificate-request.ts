/** `certificaterequests.cert-manager.io/v1` as an API server tells it. Everything is checked by who reads it: here it is only named. */
export interface CertificateRequest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMeta;
  readonly spec: CertificateRequestSpec;
  readonly status?: CertificateRequestStatus;
}

export interface ObjectMeta {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly creationTimestamp: string;
  readonly generation?: number;
  readonly generateName?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly ownerReferences?: readonly unknown[];
}

export interface CertificateRequestSpec {
  /** PEM of a PKCS#10, base64. */
  readonly request: string;
  readonly issuerRef: { readonly name: string; readonly kind?: string; readonly group?: string };
  /** Go duration. */
  readonly duration?: string;
  readonly usages?: readonly string[];
  readonly isCA?: boolean;
  readonly username?: string;
  readonly groups?: readonly string[];
}

export interface CertificateRequestStatus {
  readonly conditions?: readonly Condition[];
  /** PEM, base64. */
  readonly certificate?: string;
  readonly ca?: string;
  readonly failureTime?: string;
}

export interface Condition {
  readonly type: 'Approved' | 'Denied' | 'Ready' | 'InvalidRequest';
  readonly status: 'True' | 'False' | 'Unknown';
  readonly reason?: string;
  readonly message?: string;
  readonly lastTransitionTime?: string;
}

export const GROUP_VERSION = 'cert-manager.io/v1';

export function findCondition(request: CertificateRequest, type: Condition['type']): Condition | undefined {
  return request.status?.conditions?.find((condition) => condition.type === type);
}
