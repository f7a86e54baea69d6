import { ConfigError } from '../../src/issuer/errors.ts';
import type { DataSource, IssuerDeps } from '../../src/issuer/issuer.ts';
import type { AcmPcaConf } from './config.ts';

/** As AWS's SDK takes them. */
export interface AwsCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
  readonly expiration?: Date;
}
export type CredentialProvider = () => Promise<AwsCredentials>;

const FIELD = 'auth.awsCredentials';
const ACCESS_KEY = /^[A-Za-z0-9_]{8,128}$/;
const SECRET = /^[!-~]{1,256}$/;

/**
 * The key pair of the conf, loaded now; or the SDK's default chain, which finds and renews what it finds by itself.
 * @throws ConfigError naming the field
 */
export async function loadCredentials(
  conf: AcmPcaConf,
  deps: IssuerDeps,
  signal: AbortSignal,
): Promise<CredentialProvider> {
  const pair = conf.awsCredentials;
  if (pair === undefined) return loadDefaultChain(conf.arn.region);
  const [accessKeyId, secretAccessKey] = await Promise.all([
    loadWord(deps, pair.accessKey, `${FIELD}.accessKey`, ACCESS_KEY, signal),
    loadWord(deps, pair.accessKeySecret, `${FIELD}.accessKeySecret`, SECRET, signal),
  ]);
  if (accessKeyId.startsWith('ASIA')) {
    throw confFieldError(
      `${FIELD}.accessKey`,
      'holds a temporary key, which is worth nothing without its session token',
      'give a long-term key (AKIA...), or leave auth out: the default chain takes temporary credentials',
    );
  }
  const credentials = { accessKeyId, secretAccessKey };
  return async () => credentials;
}

/** Loaded with the first use: it brings a large part of AWS's SDK with it. */
async function loadDefaultChain(region: string): Promise<CredentialProvider> {
  const { fromNodeProviderChain } = await import('@aws-sdk/credential-providers');
  const chain = fromNodeProviderChain({ clientConfig: { region } });
  return () => chain();
}

async function loadWord(
  deps: IssuerDeps,
  source: DataSource,
  field: string,
  form: RegExp,
  signal: AbortSignal,
): Promise<string> {
  const text = (await loadField(deps, source, field, signal)).trim();
  if (text === '') throw confFieldError(field, 'is empty', `store the value that AWS shows when the key is created`);
  if (!form.test(text))
    throw confFieldError(field, 'does not hold what AWS gives out', 'store the value alone, without quotes and blanks');
  return text;
}

/** @throws ConfigError with the field as its violation */
export async function loadField(
  deps: IssuerDeps,
  source: DataSource,
  field: string,
  signal: AbortSignal,
): Promise<string> {
  try {
    return (await deps.load(source, { signal })).toString('utf8');
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw confFieldError(field, error.message, error.fix ?? 'store the secret, or correct the name', error);
  }
}

export function confFieldError(field: string, message: string, fix: string, cause?: unknown): ConfigError {
  return new ConfigError(`${field}: ${message}`, {
    fix,
    violations: [{ field, message }],
    ...(cause === undefined ? {} : { cause }),
  });
}
