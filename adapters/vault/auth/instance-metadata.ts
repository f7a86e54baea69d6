import http from 'node:http';
import type { IssuerDeps } from '../../../src/issuer/issuer.ts';
import { failed, type Outcome } from '../failure.ts';

const DEFAULT_ENDPOINT = 'http://169.254.169.254';
const ENDPOINT_VARIABLE = 'AWS_EC2_METADATA_SERVICE_ENDPOINT';
const TIMEOUT_MS = 2000;
const ANSWER_MAX_BYTES = 64 * 1024;
/** For the one request that follows. */
const TOKEN_TTL_SECONDS = 60;

const FIX =
  'run mesh-ca on an EC2 instance with the metadata service on; in a container raise its hop limit: aws ec2 modify-instance-metadata-options --http-put-response-hop-limit 2';

/**
 * The PKCS#7 signature of this instance's identity document, base64 in one line, from the instance metadata service, version 2 only
 * (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-identity-documents.html). Two requests, 2 s each at most.
 */
export async function readIdentityDocument(clock: IssuerDeps['clock'], signal: AbortSignal): Promise<Outcome<string>> {
  const endpoint = process.env[ENDPOINT_VARIABLE] || DEFAULT_ENDPOINT;
  if (!URL.canParse(endpoint) || new URL(endpoint).protocol !== 'http:') {
    return failed({
      kind: 'conf',
      message: `the environment variable ${ENDPOINT_VARIABLE} is no http URL`,
      fix: `unset it, or set it to ${DEFAULT_ENDPOINT}`,
    });
  }
  const ask = (method: string, path: string, headers: Readonly<Record<string, string>>) =>
    exchange({ url: new URL(path, endpoint), method, headers }, clock, signal);
  const token = await ask('PUT', '/latest/api/token', {
    'x-aws-ec2-metadata-token-ttl-seconds': String(TOKEN_TTL_SECONDS),
  });
  if (!token.ok) return token;
  const document = await ask('GET', '/latest/dynamic/instance-identity/pkcs7', {
    'x-aws-ec2-metadata-token': token.value,
  });
  if (!document.ok) return document;
  const pkcs7 = document.value.replace(/[\r\n]/g, '');
  return /^[A-Za-z0-9+/]+={0,2}$/.test(pkcs7) ? { ok: true, value: pkcs7 } : unusable(endpoint, 'no base64');
}

interface Exchange {
  readonly url: URL;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** The text of an answer with status 200. A redirect is an answer like any other. */
async function exchange(
  { url, method, headers }: Exchange,
  clock: IssuerDeps['clock'],
  signal: AbortSignal,
): Promise<Outcome<string>> {
  signal.throwIfAborted();
  const deadline = clock.deadline(TIMEOUT_MS, signal);
  try {
    const { status, text } = await send(url, { method, headers, agent: false, signal: deadline.signal });
    if (status !== 200) return unusable(url.origin, `status ${status} to ${method} ${url.pathname}`);
    return /^[\x20-\x7e\r\n]+$/.test(text) ? { ok: true, value: text } : unusable(url.origin, 'no printable text');
  } catch (error) {
    signal.throwIfAborted();
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
    const why = deadline.signal.aborted ? `no answer within ${TIMEOUT_MS} ms` : code;
    return failed({
      kind: 'network',
      message: `the EC2 instance metadata service at ${url.origin} cannot be reached (${why})`,
      fix: FIX,
    });
  } finally {
    deadline.clear();
  }
}

function send(url: URL, options: http.RequestOptions): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const call = http.request(url, options, (response) => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size > ANSWER_MAX_BYTES)
          call.destroy(Object.assign(new Error('too large'), { code: 'RESPONSE_TOO_LARGE' }));
        else chunks.push(chunk);
      });
      response.once('error', reject);
      response.once('end', () =>
        resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('latin1') }),
      );
    });
    call.once('error', reject);
    call.end();
  });
}

function unusable(origin: string, what: string): Outcome<never> {
  return failed({
    kind: 'network',
    message: `the EC2 instance metadata service at ${origin} gives no usable answer: ${what}`,
    fix: FIX,
  });
}
