import { z } from 'zod';
import type { Violation } from '../../../src/issuer/errors.ts';
import type { DataSource } from '../../../src/issuer/issuer.ts';
import { isJsonObject, type JsonObject, readShape } from '../../../src/mesh/violations.ts';
import { addViolations, dataSource, optional, serverUrl } from '../../shared/conf-fields.ts';
import { name, path, word } from '../conf-fields.ts';
import { REGION } from './sts-endpoint.ts';
import { AUTH_METHODS, type AuthMethod } from './token-source.ts';

/** `fromCp.auth`, complete and checked. `mount` is the path below `auth/`; `role` '' lets Vault choose where the method allows that. */
export type AuthConf = TokenAuth | TlsAuth | AwsAuth | AppRoleAuth | KubernetesAuth | JwtAuth;

export interface TokenAuth {
  readonly method: 'token';
  readonly token: DataSource;
}
export interface TlsAuth {
  readonly method: 'tls';
  readonly mount: string;
  /** Name of the certificate role. '': Vault tries all. */
  readonly role: string;
  readonly clientCert: DataSource;
  readonly clientKey: DataSource;
}
export interface AwsAuth {
  readonly method: 'aws';
  readonly mount: string;
  readonly type: 'IAM' | 'EC2';
  readonly role: string;
  /** The rest is for IAM. '' each: not set. */
  readonly iamServerIdHeader: string;
  readonly stsEndpoint: string;
  readonly stsRegion: string;
}
export interface AppRoleAuth {
  readonly method: 'approle';
  readonly mount: string;
  readonly roleId: string;
  /** Undefined for roles with `bind_secret_id=false`. */
  readonly secretId: DataSource | undefined;
}
export interface KubernetesAuth {
  readonly method: 'kubernetes';
  readonly mount: string;
  readonly role: string;
  readonly token: DataSource;
}
export interface JwtAuth {
  readonly method: 'jwt';
  readonly mount: string;
  readonly role: string;
  readonly token: DataSource;
}

/** Where Kubernetes puts the token of a Pod's service account; the kubelet replaces it while the Pod runs. */
const SERVICE_ACCOUNT_TOKEN = '/var/run/secrets/kubernetes.io/serviceaccount/token';

const AWS_TYPES = { IAM: 'IAM', EC2: 'EC2', 0: 'IAM', 1: 'EC2' } as const;

const mountOr = (usual: string) => optional(path).transform((given) => given || usual);

const awsType = z
  .literal(['IAM', 'EC2', 0, 1], { error: 'has to be IAM or EC2' })
  .nullish()
  .transform((type) => AWS_TYPES[type ?? 'IAM']);

/** Its requests are signed for the path `/`. */
const stsEndpoint = serverUrl('https://sts.eu-west-1.amazonaws.com').refine(
  (text) => text === '' || new URL(text).pathname === '/',
  {
    error: 'cannot have a path',
  },
);

const region = z.string().regex(REGION, { error: 'has to be an AWS region such as eu-west-1' });

/** One shape for each method; unknown fields are dropped, as Kuma drops them. */
const SHAPES = {
  token: dataSource.transform((token) => ({ token })),
  tls: z.object({ clientCert: dataSource, clientKey: dataSource, mount: mountOr('cert'), role: optional(name) }),
  aws: z.object({
    type: awsType,
    role: optional(name),
    iamServerIdHeader: optional(word),
    mount: mountOr('aws'),
    stsEndpoint: optional(stsEndpoint),
    stsRegion: optional(region),
  }),
  approle: z.object({ roleId: word, secretId: dataSource.nullish(), mount: mountOr('approle') }),
  kubernetes: z.object({ role: name, token: dataSource.nullish(), mount: mountOr('kubernetes') }),
  jwt: z.object({ role: name, token: dataSource, mount: mountOr('jwt') }),
} as const satisfies Record<AuthMethod, z.ZodType>;

const ONE_LEVEL_TOO_DEEP =
  'stands one level too deep, as in the sample of the product page: move it out of tls, so that it becomes fromCp.auth.aws, and keep only one method';

/** What `fromCp.auth` may be. Exactly one method is set; an empty object counts, null does not. */
export const authShape = z.record(z.string(), z.unknown()).transform((given, ctx): AuthConf | undefined => {
  const methods = AUTH_METHODS.filter((method) => given[method] !== undefined && given[method] !== null);
  const [method, second] = methods;
  if (method === undefined || second !== undefined) {
    const got = method === undefined ? nothingOf(given) : methods.join(', ');
    ctx.addIssue(`exactly one of ${AUTH_METHODS.join(', ')} has to be set, got ${got}`);
  }
  const read = methods.map((one) => {
    const violations: Violation[] = [];
    const conf = READERS[one](given[one], violations);
    addViolations(ctx, [one], violations);
    return conf;
  });
  return read[0];
});

/** A method that is written in another way (`appRole`) is named, in so far as that is a sensible name. */
function nothingOf(given: Readonly<Record<string, unknown>>): string {
  const others = Object.keys(given)
    .filter((key) => /^\w{1,32}$/.test(key))
    .slice(0, 3);
  return others.length === 0 ? 'none' : `none of them but: ${others.join(', ')}`;
}

type Reader = (value: unknown, violations: Violation[]) => AuthConf | undefined;

const READERS: Readonly<Record<AuthMethod, Reader>> = {
  token(value, violations) {
    const token = readShape(SHAPES.token, value, violations)?.token;
    return token && { method: 'token', token };
  },
  tls(value, violations) {
    if (hasAwsInside(value)) {
      violations.push({ field: 'aws', message: ONE_LEVEL_TOO_DEEP });
      const isMeantAsAws = value.clientCert === undefined && value.clientKey === undefined;
      if (isMeantAsAws) return undefined;
    }
    const shape = readShape(SHAPES.tls, value, violations);
    if (shape?.clientCert === undefined || shape.clientKey === undefined) return undefined;
    const { clientCert, clientKey, mount, role } = shape;
    return { method: 'tls', mount, role, clientCert, clientKey };
  },
  aws(value, violations) {
    const shape = readShape(SHAPES.aws, value, violations);
    return shape && { method: 'aws', ...shape };
  },
  approle(value, violations) {
    const shape = readShape(SHAPES.approle, value, violations);
    return shape && { method: 'approle', ...shape, secretId: shape.secretId ?? undefined };
  },
  kubernetes(value, violations) {
    const shape = readShape(SHAPES.kubernetes, value, violations);
    return (
      shape && { method: 'kubernetes', ...shape, token: shape.token ?? { kind: 'file', file: SERVICE_ACCOUNT_TOKEN } }
    );
  },
  jwt(value, violations) {
    const shape = readShape(SHAPES.jwt, value, violations);
    return shape?.token && { method: 'jwt', mount: shape.mount, role: shape.role, token: shape.token };
  },
};

function hasAwsInside(value: unknown): value is JsonObject {
  return isJsonObject(value) && value.aws !== undefined && value.aws !== null;
}
