import type { FailureKind } from '../failure.ts';
import type { AuthMethod } from './token-source.ts';

export type LoginMethodName = Exclude<AuthMethod, 'token'>;

/** What a login was about, as far as messages need it. */
export interface LoginPlace {
  readonly method: LoginMethodName;
  /** Path of the auth method, below `auth/`. */
  readonly mount: string;
  /** '' where Vault chooses. */
  readonly role: string;
}

export interface LoginRule {
  readonly text: RegExp;
  readonly kind: FailureKind;
  /** Goes on after `vault at <address> `. */
  readonly message: string;
  fix(place: LoginPlace): string;
}

/** What Vault calls the auth method, in `vault auth enable`. */
const VAULT_TYPES: Readonly<Record<LoginMethodName, string>> = {
  tls: 'cert',
  aws: 'aws',
  approle: 'approle',
  kubernetes: 'kubernetes',
  jwt: 'jwt',
};

/** Where Vault keeps the roles of an auth method, below its mount. */
const ROLES: Readonly<Record<LoginMethodName, string>> = {
  tls: 'certs',
  aws: 'role',
  approle: 'role',
  kubernetes: 'role',
  jwt: 'role',
};

/** An example of such a role, in `policies/vault`. */
const ROLE_FILES: Readonly<Record<LoginMethodName, string>> = {
  tls: 'auth-cert.json',
  aws: 'auth-aws-iam.json',
  approle: 'auth-approle.json',
  kubernetes: 'auth-kubernetes.json',
  jwt: 'auth-jwt.json',
};

const rolePath = ({ method, mount, role }: LoginPlace) => `auth/${mount}/${ROLES[method]}/${role || '<role>'}`;
const enable = ({ method, mount }: LoginPlace) => `vault auth enable -path=${mount} ${VAULT_TYPES[method]}`;

export const NO_AUTH_METHOD: LoginRule = {
  text: /no handler for route|unsupported (path|operation)/i,
  kind: 'absent',
  message: 'has no auth method of this kind at this path',
  fix: (p) => `enable it (${enable(p)}), or correct fromCp.auth.${p.method}.mount or fromCp.namespace`,
};

const NO_ROLE = {
  kind: 'absent',
  message: 'has no such role in this auth method',
  fix: (p: LoginPlace) =>
    `make the role: vault write ${rolePath(p)} @${ROLE_FILES[p.method]}, with your own names in that file of policies/vault; or correct fromCp.auth.${p.method}.role`,
} as const;

const CLOCK = {
  kind: 'denied',
  message: 'refuses the login because of its time',
  fix: () => 'set the clocks of this machine and of Vault right (NTP)',
} as const;

/** By what Vault and OpenBao say (both were asked, but for aws); the first that matches. */
export const LOGIN_RULES: Readonly<Record<LoginMethodName, readonly LoginRule[]>> = {
  approle: [
    {
      text: /missing secret_id/i,
      kind: 'denied',
      message: 'wants a secret id with the role id',
      fix: (p) =>
        `set fromCp.auth.approle.secretId; or let the role do without: vault write ${rolePath(p)} bind_secret_id=false token_bound_cidrs=<addresses>`,
    },
    {
      text: /invalid (role|secret)[ _-]?(or secret )?id|source address/i,
      kind: 'denied',
      message:
        'refuses the role id or the secret id: one of them is wrong, or the secret id is used up, expired, or bound to other addresses',
      fix: (p) =>
        `store a new secret id (vault write -f -field=secret_id ${rolePath(p)}/secret-id), and compare roleId with: vault read ${rolePath(p)}/role-id`,
    },
  ],
  tls: [
    {
      text: /no client certificate found|client certificate must be supplied|missing client/i,
      kind: 'denied',
      message: 'did not see the client certificate',
      fix: () =>
        'let what stands between mesh-ca and Vault pass TLS through; and see that the listener has no tls_disable_client_certs',
    },
    {
      text: /expired or is not yet valid/i,
      kind: 'denied',
      message: 'refuses the client certificate: it has expired or is not valid yet',
      fix: () => 'renew the certificate of fromCp.auth.tls.clientCert, or correct the clocks',
    },
    {
      text: /incompatible key usage/i,
      kind: 'denied',
      message: 'refuses the client certificate: it is not made for clients',
      fix: () => 'make the certificate of fromCp.auth.tls.clientCert with the extended key usage clientAuth',
    },
    {
      text: /no chain matching all constraints/i,
      kind: 'denied',
      message: 'refuses the client certificate by the constraints of its role',
      fix: (p) =>
        `compare the names in the certificate with allowed_common_names, allowed_dns_sans, allowed_uri_sans of: vault read ${rolePath(p)}`,
    },
    {
      text: /invalid certificate or no client certificate supplied|failed to match|unknown authority/i,
      kind: 'denied',
      message:
        'refuses the client certificate: no role has its CA, an intermediate is missing, or the role has another name',
      fix: (p) =>
        `put the intermediate certificates behind the client certificate in fromCp.auth.tls.clientCert; and see vault list auth/${p.mount}/certs: the role needs certificate=@ca.pem`,
    },
  ],
  jwt: [
    {
      text: /could not load configuration/i,
      kind: 'absent',
      message: 'has a jwt auth method that was never configured',
      fix: (p) =>
        `say whose JWTs it takes: vault write auth/${p.mount}/config jwt_validation_pubkeys=@key.pem (or jwks_url)`,
    },
    { ...NO_ROLE, text: /role .* could not be found|invalid role/i },
    {
      text: /\(exp\)|expired/i,
      kind: 'denied',
      message: 'refuses the JWT: it has expired',
      fix: () =>
        'give a fresh one in fromCp.auth.jwt.token: a file or secret that is replaced is read again at each login',
    },
    { ...CLOCK, text: /\(nbf\)|\(iat\)|not yet valid/i },
    {
      text: /\(aud\)|audience/i,
      kind: 'denied',
      message: 'refuses the JWT: it is made for another audience',
      fix: (p) =>
        `ask its issuer for an audience of the role, or allow it: vault write ${rolePath(p)} role_type=jwt bound_audiences=<audience>`,
    },
    {
      text: /\((sub|iss)\)|claim/i,
      kind: 'denied',
      message: "refuses the JWT by its role's bound claims",
      fix: (p) =>
        `compare the JWT's claims with bound_subject and bound_claims of: vault read ${rolePath(p)}; and its issuer with auth/${p.mount}/config`,
    },
    {
      text: /signature/i,
      kind: 'denied',
      message: 'refuses the JWT: no key of its configuration has signed it',
      fix: (p) => `compare the issuer's keys with: vault read auth/${p.mount}/config`,
    },
  ],
  kubernetes: [
    { ...NO_ROLE, text: /invalid role name/i },
    {
      text: /(service account name|namespace) not authorized/i,
      kind: 'denied',
      message: 'refuses the service account by its role',
      fix: (p) =>
        `allow the service account and namespace of mesh-ca: vault write ${rolePath(p)} bound_service_account_names=<name> bound_service_account_namespaces=<namespace>`,
    },
    {
      text: /\(aud\)|audience/i,
      kind: 'denied',
      message: 'refuses the token: it is made for another audience',
      fix: (p) =>
        `project a token for the audience of the role (serviceAccountToken.audience), or change: vault read ${rolePath(p)}`,
    },
    {
      text: /permission denied|unauthorized|forbidden/i,
      kind: 'denied',
      message:
        'denies the login: Kubernetes does not confirm the token, Vault may not ask it, or there is no such auth method',
      fix: (p) =>
        `see Vault's log; let Vault's reviewer use system:auth-delegator; check kubernetes_host in vault read auth/${p.mount}/config, and fromCp.auth.kubernetes.mount`,
    },
  ],
  // From the sources of Vault's auth method; OpenBao has none.
  aws: [
    { ...NO_ROLE, text: /entry for role .* not found|role .* not found/i },
    {
      text: /server-?id|error validating .* header|missing header/i,
      kind: 'denied',
      message: 'refuses the server id of the login',
      fix: (p) =>
        `set fromCp.auth.aws.iamServerIdHeader to the iam_server_id_header_value of: vault read auth/${p.mount}/config/client`,
    },
    { ...CLOCK, text: /signature (expired|not yet current)|RequestExpired/i },
    {
      text: /does not belong to the role|bound_iam|not allowed for role|does not satisfy|cannot be used with/i,
      kind: 'denied',
      message: 'refuses the AWS principal or instance by its role',
      fix: (p) =>
        `compare \`aws sts get-caller-identity\` with auth_type and bound_iam_principal_arn (or the bound_* of EC2) of: vault read ${rolePath(p)}`,
    },
    {
      text: /nonce|reauthentication/i,
      kind: 'denied',
      message: 'knows this EC2 instance by another nonce',
      fix: (p) => `forget the instance: vault delete auth/${p.mount}/identity-accesslist/<instance id>`,
    },
    {
      text: /upstream request|from STS|InvalidClientTokenId|SignatureDoesNotMatch|Credential should be scoped/i,
      kind: 'denied',
      message: 'was refused by STS with the signed request',
      fix: (p) =>
        `let both use the same STS: vault write auth/${p.mount}/config/client sts_endpoint=https://sts.<region>.amazonaws.com sts_region=<region>, or set fromCp.auth.aws.stsEndpoint to what Vault has (without: https://sts.amazonaws.com)`,
    },
  ],
};

/** For a refusal whose text is not known. */
export const REFUSED: Omit<LoginRule, 'text'> = {
  kind: 'denied',
  message: 'refuses the login, or has no auth method at this path',
  fix: (p) =>
    `vault auth list; correct fromCp.auth.${p.method}.mount or fromCp.namespace, or enable the method: ${enable(p)}; if it is there, compare fromCp.auth.${p.method} with: vault read ${rolePath(p)}`,
};
