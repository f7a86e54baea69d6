/** As AWS's SDK takes them. */
export interface AwsCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
  readonly expiration?: Date;
}
export type AwsCredentialProvider = () => Promise<AwsCredentials>;

const METADATA_TIMEOUT_MS = 1000;
/**
 * Of one try. A chain shares one look-up among its callers: one that hung for ever would take all later ones with it. Without `throwOnRequestTimeout` the
 * SDK only writes a line about it to the console and goes on waiting.
 */
const STS_TIMEOUTS = { connectionTimeout: 1500, requestTimeout: 2000, throwOnRequestTimeout: true } as const;

export interface DefaultChainOptions {
  /** Of STS, for web identities and assumed roles. Absent: as the environment says. */
  readonly region?: string;
  /** True: looks anew each time. Otherwise what was found is kept until it is about to expire. */
  readonly ignoreCache?: boolean;
}

/**
 * AWS's default chain: environment, shared files (SSO, `credential_process`), web identity (IRSA), container and instance roles. The SDK is loaded here,
 * with the first use: it is large.
 */
export async function loadAwsDefaultChain({
  region,
  ignoreCache = false,
}: DefaultChainOptions): Promise<AwsCredentialProvider> {
  // The SDK's own switch: its advice about versions of Node is for us, and no line of the log of a service.
  process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= 'true';
  const { fromNodeProviderChain } = await import('@aws-sdk/credential-providers');
  const chain = fromNodeProviderChain({
    ignoreCache,
    timeout: METADATA_TIMEOUT_MS,
    maxRetries: 1,
    clientConfig: { maxAttempts: 2, requestHandler: STS_TIMEOUTS, ...(region === undefined ? {} : { region }) },
  });
  return () => chain();
}

/** Why the chain gave nothing. */
export interface ChainFault {
  /** `unavailable`: may pass by itself. `refused`: AWS says no. `absent`: nothing was found, or it cannot be read. */
  readonly kind: 'unavailable' | 'refused' | 'absent';
  /** One clause; holds nothing of the SDK's own words, which repeat what processes print, what files hold, and ARNs of roles. */
  readonly message: string;
  readonly fix: string;
}

const LOCAL_FILE = /^(ENOENT|EACCES|EPERM|EISDIR|ENOTDIR|ELOOP)$/;
const SYSTEM_ERROR = /^(E[A-Z_]{3,20}|UND_ERR_\w+)$/;
/** Exceptions of STS that say "not now", though they blame the caller. */
const NOT_NOW = /^(Throttl|TooManyRequests|RequestLimitExceeded|RequestThrottled|IDPCommunicationError|TimeoutError)/;

/** What an error of the chain means to an operator. */
export function chainFault(error: unknown): ChainFault {
  const name = error instanceof Error && /^\w{1,60}$/.test(error.name) ? error.name : 'Error';
  const code = textAt(error, 'code');
  const blames = textAt(error, '$fault');
  if (LOCAL_FILE.test(code)) {
    return {
      kind: 'absent',
      message: `the default chain is told to read a file of AWS credentials that it cannot read (${code})`,
      fix: 'check AWS_WEB_IDENTITY_TOKEN_FILE, AWS_CONFIG_FILE, AWS_SHARED_CREDENTIALS_FILE, and the rights on these files',
    };
  }
  if (SYSTEM_ERROR.test(code) || NOT_NOW.test(name) || blames === 'server') {
    return {
      kind: 'unavailable',
      message: `AWS credentials cannot be had now: the default chain failed with ${SYSTEM_ERROR.test(code) ? code : name}`,
      fix: 'look at the network to STS and to the metadata service of the container or instance',
    };
  }
  if (blames === 'client') {
    return {
      kind: 'refused',
      message: `AWS refuses to give credentials (${name})`,
      fix: 'check the trust policy of the role, and that AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE belong to this service account',
    };
  }
  return {
    kind: 'absent',
    message: `the default chain found no AWS credentials (${name})`,
    fix: 'give mesh-ca a role (web identity, container, instance); or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; aws sts get-caller-identity shows what is found',
  };
}

function textAt(value: unknown, key: string): string {
  const found: unknown = typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined;
  return typeof found === 'string' ? found : '';
}
