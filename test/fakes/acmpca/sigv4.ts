import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { AwsError } from './aws-error.ts';
import type { FakeUser } from './users.ts';

export interface SignedRequest {
  readonly method: string;
  /** Path and query as sent. */
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export interface SignatureCheck {
  readonly region: string;
  readonly service: string;
  readonly now: Date;
  findUser(accessKeyId: string): FakeUser | undefined;
}

const ALGORITHM = 'AWS4-HMAC-SHA256';
const SKEW_MS = 5 * 60_000;
const TOKEN_INVALID = 'The security token included in the request is invalid.';

/**
 * Checks a request as AWS Signature Version 4 says, with nothing of the AWS SDK: the canonical request is rebuilt from what arrived.
 * @returns who signed
 * @throws AwsError with the type and text that AWS has for each way to be wrong
 */
export function verifySignature(request: SignedRequest, check: SignatureCheck): FakeUser {
  const header = request.headers.authorization;
  if (header === undefined) {
    throw new AwsError('MissingAuthenticationTokenException', 'Missing Authentication Token');
  }
  const { credential, signedHeaders, signature } = readAuthorization(header);
  const date = request.headers['x-amz-date'];
  const signedAt = typeof date === 'string' ? readAmzDate(date) : undefined;
  if (typeof date !== 'string' || signedAt === undefined) {
    throw new AwsError(
      'IncompleteSignatureException',
      "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.",
    );
  }
  const [accessKeyId = '', ...scope] = credential.split('/');
  checkScope(scope, date, check);
  checkSignedHeaders(signedHeaders, request.headers);

  const user = check.findUser(accessKeyId);
  if (user === undefined || !user.isActive) throw new AwsError('UnrecognizedClientException', TOKEN_INVALID);
  if (request.headers['x-amz-security-token'] !== user.sessionToken) {
    throw new AwsError('UnrecognizedClientException', TOKEN_INVALID);
  }
  if (user.isExpired) {
    throw new AwsError('ExpiredTokenException', 'The security token included in the request is expired');
  }
  checkAge(date, signedAt, check.now);

  const expected = signatureOf(request, { date, scope, signedHeaders, secret: user.secretAccessKey });
  const given = Buffer.from(signature, 'utf8');
  if (given.length !== expected.length || !timingSafeEqual(given, Buffer.from(expected, 'utf8'))) {
    throw new AwsError(
      'InvalidSignatureException',
      'The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.',
    );
  }
  return user;
}

function readAuthorization(header: string): { credential: string; signedHeaders: string[]; signature: string } {
  const [algorithm, rest = ''] = [header.split(' ', 1)[0], header.slice(header.indexOf(' ') + 1)];
  const parts = new Map(
    rest.split(',').map((part) => [part.slice(0, part.indexOf('=')).trim(), part.slice(part.indexOf('=') + 1).trim()]),
  );
  const missing = ['Credential', 'Signature', 'SignedHeaders'].filter((name) => !parts.get(name));
  if (algorithm !== ALGORITHM || missing.length > 0) {
    const texts = missing.map((name) => `Authorization header requires '${name}' parameter.`);
    throw new AwsError('IncompleteSignatureException', `${texts.join(' ')} Authorization=${algorithm}`);
  }
  return {
    credential: parts.get('Credential') ?? '',
    signedHeaders: (parts.get('SignedHeaders') ?? '').split(';'),
    signature: parts.get('Signature') ?? '',
  };
}

/** `20261121T172300Z` */
function readAmzDate(text: string): Date | undefined {
  const [, ...fields] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text) ?? [];
  const [year = 0, month = 0, day, hours, minutes, seconds] = fields.map(Number);
  return fields.length === 6 ? new Date(Date.UTC(year, month - 1, day, hours, minutes, seconds)) : undefined;
}

function formatAmzDate(at: Date): string {
  return at.toISOString().replace(/[-:]|\.\d+/g, '');
}

function checkScope(scope: readonly string[], date: string, { region, service }: SignatureCheck): void {
  const [day, ofRegion, ofService, end] = scope;
  const wrong =
    scope.length !== 4 || end !== 'aws4_request'
      ? "Credential should be scoped with a valid terminator: 'aws4_request'."
      : day !== date.slice(0, 8)
        ? `Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '${day}' != '${date.slice(0, 8)}', from '${date}'.`
        : ofRegion !== region
          ? `Credential should be scoped to a valid region, not '${ofRegion}'. `
          : ofService !== service
            ? `Credential should be scoped to correct service: '${service}'. `
            : undefined;
  if (wrong !== undefined) throw new AwsError('InvalidSignatureException', wrong);
}

/** Host and everything of AWS's own must be under the signature, or somebody on the way could change it. */
function checkSignedHeaders(signedHeaders: readonly string[], headers: IncomingHttpHeaders): void {
  const needed = ['host', ...Object.keys(headers).filter((name) => name.startsWith('x-amz-'))];
  const missing = needed.find((name) => !signedHeaders.includes(name));
  if (missing !== undefined) {
    throw new AwsError(
      'InvalidSignatureException',
      `'${missing === 'host' ? 'Host' : missing}' must be a 'SignedHeader' in the AWS Authorization.`,
    );
  }
}

function checkAge(date: string, signedAt: Date, now: Date): void {
  const ageMs = now.getTime() - signedAt.getTime();
  if (Math.abs(ageMs) <= SKEW_MS) return;
  const sign = ageMs > 0 ? '-' : '+';
  const bound = formatAmzDate(new Date(now.getTime() + (ageMs > 0 ? -SKEW_MS : SKEW_MS)));
  const what = ageMs > 0 ? 'Signature expired' : 'Signature not yet current';
  const relation = ageMs > 0 ? 'is now earlier than' : 'is still later than';
  throw new AwsError(
    'InvalidSignatureException',
    `${what}: ${date} ${relation} ${bound} (${formatAmzDate(now)} ${sign} 5 min.)`,
  );
}

interface SigningParts {
  readonly date: string;
  readonly scope: readonly string[];
  readonly signedHeaders: readonly string[];
  readonly secret: string;
}

function signatureOf(request: SignedRequest, { date, scope, signedHeaders, secret }: SigningParts): string {
  const [path = '/', query = ''] = request.url.split('?', 2);
  const headerLines = signedHeaders.map((name) => {
    const value = request.headers[name];
    return `${name}:${String(value ?? '')
      .trim()
      .replace(/ +/g, ' ')}\n`;
  });
  const canonical = [
    request.method,
    path,
    query.split('&').sort().join('&'),
    headerLines.join(''),
    signedHeaders.join(';'),
    sha256(request.body),
  ].join('\n');
  const toSign = [ALGORITHM, date, scope.join('/'), sha256(canonical)].join('\n');
  const key = scope.reduce<Buffer>((above, part) => hmac(above, part), Buffer.from(`AWS4${secret}`, 'utf8'));
  return hmac(key, toSign).toString('hex');
}

function sha256(data: string | Buffer): string {
  return createHash('sha256').update(data).digest('hex');
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text, 'utf8').digest();
}
