import http from 'node:http';
import { type Answer, type ListeningFake, listen, type Received } from './listen.ts';

export interface FakeVaultAws extends ListeningFake {
  /** As `auth/aws/config/client` and one role would say. May be changed. */
  readonly conf: FakeVaultAwsConf;
  /** EC2 instance -> the nonce of its first login. */
  readonly accessList: Map<string, string>;
  /** ARNs and instances that have logged in, oldest first. */
  readonly loggedIn: string[];
}

export interface FakeVaultAwsConf {
  stsEndpoint: string;
  /** '' for none. */
  serverId: string;
  role: string;
  /** ARNs or instance ids that the role lets in. */
  bound: readonly string[];
}

const errors = (status: number, ...texts: readonly string[]): Answer => ({
  status,
  body: JSON.stringify({ errors: texts }),
});

/**
 * `auth/aws/login` as Vault's auth method does it, for IAM and EC2: the signed request is sent on to the mount's own STS, whatever URL it names, with
 * the host that was signed; the texts are those of Vault's sources.
 */
export async function startFakeVaultAws(conf: FakeVaultAwsConf): Promise<FakeVaultAws> {
  const accessList = new Map<string, string>();
  const loggedIn: string[] = [];
  const fake = await listen(async ({ method, url, body }) => {
    if (method !== 'POST' || url !== '/v1/auth/aws/login') return errors(403, 'permission denied');
    const given: Record<string, string | undefined> = JSON.parse(body.toString('utf8'));
    const role = given.role ?? '';
    if (role !== '' && role !== conf.role) return errors(400, `entry for role ${JSON.stringify(role)} not found`);
    const who = given.pkcs7 === undefined ? await byIam(given, conf) : byEc2(given, accessList);
    if (typeof who !== 'string') return who;
    if (!conf.bound.includes(who))
      return errors(400, `IAM Principal ${JSON.stringify(who)} does not belong to the role`);
    loggedIn.push(who);
    const auth = {
      client_token: `hvs.${Buffer.from(`token of login ${loggedIn.length}`).toString('base64url')}`,
      ...{ lease_duration: 3600, renewable: true, token_type: 'service' },
    };
    return { status: 200, body: JSON.stringify({ auth }) };
  });
  return { ...fake, conf, accessList, loggedIn };
}

async function byIam(given: Record<string, string | undefined>, conf: FakeVaultAwsConf): Promise<Answer | string> {
  const decode = (field: string) => Buffer.from(given[field] ?? '', 'base64').toString('utf8');
  if (given.iam_http_request_method !== 'POST') return errors(400, 'missing iam_http_request_method');
  const url = new URL(decode('iam_request_url'));
  const body = decode('iam_request_body');
  const lists: Record<string, string[]> = JSON.parse(decode('iam_request_headers'));
  const headers = Object.fromEntries(
    Object.entries(lists).map(([name, values]) => [name.toLowerCase(), values.join(',')]),
  );
  if (conf.serverId !== '') {
    const problem = serverIdProblem(headers, conf.serverId);
    if (problem !== undefined) return errors(400, `error validating X-Vault-AWS-IAM-Server-ID header: ${problem}`);
  }
  const reply = await send(
    new URL(url.pathname, conf.stsEndpoint),
    { ...headers, host: url.host, 'content-length': String(body.length) },
    body,
  );
  const arn = /<Arn>([^<]+)<\/Arn>/.exec(reply.text)?.[1];
  if (reply.status === 200 && arn !== undefined) return arn;
  return errors(400, `error making upstream request: received error code ${reply.status} from STS: ${reply.text}`);
}

function serverIdProblem(headers: Readonly<Record<string, string>>, serverId: string): string | undefined {
  const name = 'x-vault-aws-iam-server-id';
  const given = headers[name];
  if (given === undefined) return 'missing header "X-Vault-AWS-IAM-Server-ID"';
  if (given !== serverId) return `expected ${JSON.stringify(serverId)} but got ${JSON.stringify(given)}`;
  const signed = /SignedHeaders=([^,]+)/.exec(headers.authorization ?? '')?.[1]?.split(';') ?? [];
  return signed.includes(name) ? undefined : "header wasn't signed";
}

function send(
  url: URL,
  headers: Readonly<Record<string, string>>,
  body: string,
): Promise<{ readonly status: number; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const call = http.request(url, { method: 'POST', headers, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() }));
    });
    call.once('error', reject);
    call.end(body);
  });
}

/** The document names the instance in plain; a real one is signed by AWS. */
function byEc2(given: Record<string, string | undefined>, accessList: Map<string, string>): Answer | string {
  const instance = /^fake document of (i-\w+)$/.exec(Buffer.from(given.pkcs7 ?? '', 'base64').toString('utf8'))?.[1];
  if (instance === undefined) return errors(400, 'failed to parse the PKCS#7 signature');
  const known = accessList.get(instance);
  if (known !== undefined && known !== given.nonce) return errors(400, 'client nonce mismatch');
  accessList.set(instance, given.nonce ?? '');
  return instance;
}

export interface FakeMetadata extends ListeningFake {
  /** Asked before each request. */
  fault: (request: Received) => Answer | undefined;
}

/** EC2's instance metadata service, version 2 only: nothing without a session token. */
export async function startFakeMetadata(instance: string): Promise<FakeMetadata> {
  const token = 'AQAEAfakeMetadataToken==';
  // Lines of 64, as the real one.
  const document = Buffer.from(`fake document of ${instance}`)
    .toString('base64')
    .replace(/(.{16})/g, '$1\n');
  const fake: FakeMetadata = Object.assign(await listen((request) => fake.fault(request) ?? answer(request)), {
    fault: () => undefined,
  });
  function answer({ method, url, headers }: Received): Answer {
    if (method === 'PUT' && url === '/latest/api/token') {
      const ttl = Number(headers['x-aws-ec2-metadata-token-ttl-seconds']);
      return ttl >= 1 && ttl <= 21_600 ? { status: 200, body: token } : { status: 400 };
    }
    if (headers['x-aws-ec2-metadata-token'] !== token) return { status: 401 };
    return url === '/latest/dynamic/instance-identity/pkcs7' ? { status: 200, body: document } : { status: 404 };
  }
  return fake;
}
