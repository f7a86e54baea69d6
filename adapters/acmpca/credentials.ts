import type { DataSource, IssuerDeps } from '../../src/issuer/issuer.ts';
import { type AwsCredentialProvider, loadAwsDefaultChain } from '../shared/aws-default-chain.ts';
import { confFieldError, loadText } from '../shared/load-text.ts';
import type { AcmPcaConf } from './config.ts';

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
): Promise<AwsCredentialProvider> {
  const parts = keyPartsOf(conf);
  if (parts === undefined) return loadAwsDefaultChain({ region: conf.arn.region });
  const [accessKeyId, secretAccessKey] = await Promise.all([
    loadKeyPart(deps, parts.id, signal),
    loadKeyPart(deps, parts.secret, signal),
  ]);
  const credentials = { accessKeyId, secretAccessKey };
  return async () => credentials;
}

interface KeyPart {
  readonly field: string;
  readonly source: DataSource;
  readonly form: RegExp;
}

function keyPartsOf({
  awsCredentials: pair,
}: AcmPcaConf): { readonly id: KeyPart; readonly secret: KeyPart } | undefined {
  if (pair === undefined) return undefined;
  return {
    id: { field: `${FIELD}.accessKey`, source: pair.accessKey, form: ACCESS_KEY },
    secret: { field: `${FIELD}.accessKeySecret`, source: pair.accessKeySecret, form: SECRET },
  };
}

/** The parts of the conf's key pair as `collectFindings` loads them; none where the default chain is used. */
export function credentialChecks(conf: AcmPcaConf, deps: IssuerDeps, signal: AbortSignal): (() => Promise<unknown>)[] {
  const parts = keyPartsOf(conf);
  return parts === undefined ? [] : [parts.id, parts.secret].map((part) => () => loadKeyPart(deps, part, signal));
}

async function loadKeyPart(deps: IssuerDeps, { source, field, form }: KeyPart, signal: AbortSignal): Promise<string> {
  const text = (await loadText(deps, source, field, signal)).trim();
  if (text === '') throw confFieldError(field, 'is empty', 'store the value that AWS shows when the key is created');
  if (!form.test(text))
    throw confFieldError(field, 'does not hold what AWS gives out', 'store the value alone, without quotes and blanks');
  if (text.startsWith('ASIA')) {
    throw confFieldError(
      field,
      'holds a temporary key, which is worth nothing without its session token',
      'give a long-term key (AKIA...), or leave auth out: the default chain takes temporary credentials',
    );
  }
  return text;
}
