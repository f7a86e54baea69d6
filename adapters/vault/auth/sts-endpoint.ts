import { failed, type Outcome } from '../failure.ts';

/** Where sts:GetCallerIdentity is signed for. */
export interface StsEndpoint {
  /** Its path is `/`. */
  readonly url: URL;
  readonly region: string;
}

const GLOBAL_HOST = 'sts.amazonaws.com';
const GLOBAL_REGION = 'us-east-1';
/** `us-east-1`, `us-gov-west-1`, `cn-north-1`. */
export const REGION = /^[a-z]{2,}(-[a-z]+)+-\d{1,2}$/;

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Endpoint: `stsEndpoint`, else AWS_ENDPOINT_URL_STS, else the one of the region. Region: `stsRegion`, else what the endpoint's host name says, else
 * AWS_REGION or AWS_DEFAULT_REGION, else us-east-1 with the global endpoint, which is what a Vault mount uses that was told nothing.
 */
export function findStsEndpoint(
  auth: { readonly stsEndpoint: string; readonly stsRegion: string },
  env: Environment,
): Outcome<StsEndpoint> {
  const endpoint = auth.stsEndpoint || env.AWS_ENDPOINT_URL_STS || '';
  if (endpoint !== '' && !isEndpoint(endpoint)) {
    return badVariable('AWS_ENDPOINT_URL_STS', 'an http or https URL without a path');
  }
  const given = endpoint === '' ? undefined : new URL(endpoint);
  const [variable, value] = env.AWS_REGION
    ? ['AWS_REGION', env.AWS_REGION]
    : ['AWS_DEFAULT_REGION', env.AWS_DEFAULT_REGION ?? ''];
  const region = auth.stsRegion || (given && regionOf(given.hostname)) || value;
  if (region === '')
    return { ok: true, value: { url: given ?? new URL(`https://${GLOBAL_HOST}`), region: GLOBAL_REGION } };
  if (!REGION.test(region)) return badVariable(variable, 'an AWS region such as eu-west-1');
  const suffix = region.startsWith('cn-') ? 'amazonaws.com.cn' : 'amazonaws.com';
  return { ok: true, value: { url: given ?? new URL(`https://sts.${region}.${suffix}`), region } };
}

function isEndpoint(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, pathname, search, username } = new URL(text);
  return /^https?:$/.test(protocol) && pathname === '/' && search === '' && username === '';
}

/** `sts.eu-west-1.amazonaws.com`, `sts-fips.us-gov-west-1.amazonaws.com`, `sts.cn-north-1.amazonaws.com.cn`. */
function regionOf(host: string): string | undefined {
  if (host === GLOBAL_HOST) return GLOBAL_REGION;
  const region = /^sts(?:-fips)?\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?$/.exec(host)?.[1];
  return region !== undefined && REGION.test(region) ? region : undefined;
}

function badVariable(name: string, form: string): Outcome<never> {
  return failed({
    kind: 'conf',
    message: `the environment variable ${name} is not ${form}`,
    fix: `correct ${name}, or set fromCp.auth.aws.stsEndpoint and stsRegion`,
  });
}
