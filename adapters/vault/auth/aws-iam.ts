import type { IssuerDeps } from '../../../src/issuer/issuer.ts';
import type { AwsCredentials } from '../../shared/aws-default-chain.ts';
import type { AwsAuth } from './auth-conf.ts';
import { findAwsCredentials } from './aws-credentials.ts';
import type { LoginMethod } from './login-source.ts';
import { findStsEndpoint, type StsEndpoint } from './sts-endpoint.ts';

const BODY = 'Action=GetCallerIdentity&Version=2011-06-15';
const SERVER_ID_HEADER = 'x-vault-aws-iam-server-id';

/**
 * A signed request of sts:GetCallerIdentity that is not sent to AWS but handed to Vault, which sends it and believes AWS's answer about who signed it
 * (https://developer.hashicorp.com/vault/docs/auth/aws#iam-auth-method).
 */
export function createAwsIamLogin(auth: AwsAuth, deps: Pick<IssuerDeps, 'clock'>): LoginMethod<Record<string, never>> {
  return {
    place: auth,
    load: async () => ({}),
    async prepare(_credentials, signal) {
      const endpoint = findStsEndpoint(auth, process.env);
      if (!endpoint.ok) return endpoint;
      const found = await findAwsCredentials(deps.clock, signal);
      if (!found.ok) return found;
      const headers = await signCallerIdentity(endpoint.value, auth.iamServerIdHeader, found.value, deps.clock.now());
      const signature = /Signature=(\w+)/.exec(headers.authorization ?? '')?.[1] ?? '';
      const { accessKeyId, secretAccessKey, sessionToken = '' } = found.value;
      const secrets = [accessKeyId, secretAccessKey, sessionToken, signature];
      return { ok: true, value: { body: loginBody(auth.role, endpoint.value, headers), secrets } };
    },
  };
}

type Headers = Readonly<Record<string, string>>;

/** The headers of `POST /`, signed by Signature Version 4, all of them. */
async function signCallerIdentity(
  { url, region }: StsEndpoint,
  serverId: string,
  credentials: AwsCredentials,
  signingDate: Date,
): Promise<Headers> {
  const [{ SignatureV4 }, { Hash }] = await Promise.all([import('@smithy/signature-v4'), import('@smithy/hash-node')]);
  const sha256 = Hash.bind(null, 'sha256');
  // Vault's mounts may restrict the headers of STS requests: only those that Vault's own client sends are sent.
  const signer = new SignatureV4({ service: 'sts', region, credentials, sha256, applyChecksum: false });
  const { headers } = await signer.sign(
    {
      method: 'POST',
      protocol: url.protocol,
      hostname: url.hostname,
      path: '/',
      headers: {
        host: url.host,
        'content-type': 'application/x-www-form-urlencoded; charset=utf-8',
        'content-length': String(BODY.length),
        ...(serverId !== '' && { [SERVER_ID_HEADER]: serverId }),
      },
      body: BODY,
    },
    { signingDate },
  );
  return headers;
}

/** As Vault's own client sends it: base64 of each part, headers as a JSON object of lists. */
function loginBody(role: string, { url }: StsEndpoint, headers: Headers): object {
  const lists = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, [value]]));
  return {
    ...(role !== '' && { role }),
    iam_http_request_method: 'POST',
    iam_request_url: base64(url.href),
    iam_request_body: base64(BODY),
    iam_request_headers: base64(JSON.stringify(lists)),
  };
}

function base64(text: string): string {
  return Buffer.from(text, 'utf8').toString('base64');
}
