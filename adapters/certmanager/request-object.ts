import { hash } from 'node:crypto';
import type { Identity, IssuerContext } from '../../src/issuer/issuer.ts';
import { encodePem } from '../../src/x509/pem.ts';
import type { IssuerRef } from './config.ts';

export const LABELS = {
  managedBy: 'app.kubernetes.io/managed-by',
  /** One running mesh-ca. */
  instance: 'mesh-ca/instance',
  mesh: 'mesh-ca/mesh',
  backend: 'mesh-ca/backend',
  dataplane: 'mesh-ca/dataplane',
} as const;

const MANAGED_BY = 'mesh-ca';

/** By the API server's clock: after this instant (RFC 3339) nobody waits for the object any more, and any mesh-ca may delete it. */
export const EXPIRES_AT = 'mesh-ca/expires-at';

/**
 * What Kuma's own certificates are for, but for keyAgreement: no cipher suite of Envoy's needs it, and policies of cert-manager's approvers commonly
 * list exactly these.
 */
const USAGES = ['digital signature', 'key encipherment', 'server auth', 'client auth'];

/** Letters, digits, `-`, `_` and `.`, beginning and ending with a letter or digit, at most 63 characters. */
const LABEL_VALUE = /^(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/;

export interface RequestSpec {
  readonly csrDer: Buffer;
  readonly requestId: string;
  readonly identity: Identity;
  readonly durationSeconds: number;
  readonly issuerRef: IssuerRef;
  readonly context: IssuerContext;
  readonly namespace: string;
  readonly instance: string;
  readonly expiresAt: Date;
  /** The Pod that owns the object; undefined outside Kubernetes. */
  readonly owner: { readonly name: string; readonly uid: string } | undefined;
}

export interface RequestObject {
  readonly name: string;
  /** Base64 of the PEM. */
  readonly request: string;
  readonly manifest: object;
}

/**
 * The CertificateRequest to create. Its name follows from what is asked for: asking again after a lost answer finds the object of the first time
 * instead of making a second one. cert-manager has no lower limit for `duration` here (that of one hour is a `Certificate`'s).
 */
export function createRequestObject(spec: RequestSpec): RequestObject {
  const { context, identity, issuerRef, owner } = spec;
  const request = Buffer.from(encodePem('CERTIFICATE REQUEST', spec.csrDer)).toString('base64');
  const parts = [
    spec.instance,
    context.mesh,
    context.backend,
    issuerRef.group,
    issuerRef.kind,
    issuerRef.name,
    spec.requestId,
    String(spec.durationSeconds),
    request,
  ];
  const name = `mesh-ca-${hash('sha256', JSON.stringify(parts)).slice(0, 40)}`;
  const names = { mesh: context.mesh, backend: context.backend, dataplane: identity.dataplane };
  const manifest = {
    apiVersion: 'cert-manager.io/v1',
    kind: 'CertificateRequest',
    metadata: {
      name,
      namespace: spec.namespace,
      labels: {
        [LABELS.managedBy]: MANAGED_BY,
        [LABELS.instance]: spec.instance,
        [LABELS.mesh]: labelValue(names.mesh),
        [LABELS.backend]: labelValue(names.backend),
        [LABELS.dataplane]: labelValue(names.dataplane),
      },
      annotations: {
        [EXPIRES_AT]: spec.expiresAt.toISOString(),
        // Labels cannot hold every name.
        [LABELS.mesh]: names.mesh,
        [LABELS.backend]: names.backend,
        [LABELS.dataplane]: names.dataplane,
      },
      ...(owner && {
        ownerReferences: [{ apiVersion: 'v1', kind: 'Pod', name: owner.name, uid: owner.uid }],
      }),
    },
    spec: { request, issuerRef, duration: `${spec.durationSeconds}s`, usages: USAGES, isCA: false },
  };
  return { name, request, manifest };
}

/** The text itself where a label may hold it, else the first half of its SHA-256. */
function labelValue(text: string): string {
  return LABEL_VALUE.test(text) ? text : `sha256-${hash('sha256', text).slice(0, 32)}`;
}

/** Selects what one running mesh-ca made, or what any did. */
export function selectorOf(instance?: string): string {
  const all = `${LABELS.managedBy}=${MANAGED_BY}`;
  return instance === undefined ? all : `${all},${LABELS.instance}=${instance}`;
}
