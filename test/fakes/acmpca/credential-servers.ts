import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Where AWS's default chain gets temporary credentials from: STS, and the credential service of a container. */
export interface CredentialServer {
  readonly url: string;
  /** Bodies and paths of what was asked, oldest first. */
  readonly asked: readonly string[];
  answer: CredentialAnswer;
  close(): Promise<void>;
}

/** `hang`: no answer at all. */
export type CredentialAnswer = { readonly status: number; readonly body: string } | 'hang';

export interface TemporaryKey {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string | undefined;
}

const EXPIRES = '2099-01-01T00:00:00Z';
const NAMESPACE = 'https://sts.amazonaws.com/doc/2011-06-15/';

/** What STS answers to AssumeRoleWithWebIdentity. */
export function stsAnswer({ accessKeyId, secretAccessKey, sessionToken }: TemporaryKey): CredentialAnswer {
  const credentials = `<AccessKeyId>${accessKeyId}</AccessKeyId><SecretAccessKey>${secretAccessKey}</SecretAccessKey><SessionToken>${sessionToken}</SessionToken><Expiration>${EXPIRES}</Expiration>`;
  const result = `<AssumeRoleWithWebIdentityResult><Credentials>${credentials}</Credentials></AssumeRoleWithWebIdentityResult>`;
  return {
    status: 200,
    body: `<AssumeRoleWithWebIdentityResponse xmlns="${NAMESPACE}">${result}</AssumeRoleWithWebIdentityResponse>`,
  };
}

/** An exception of STS. */
export function stsRefusal(code: string, status = 400): CredentialAnswer {
  const error = `<Error><Type>Sender</Type><Code>${code}</Code><Message>arn:aws:iam::123456789012:role/secret-role</Message></Error>`;
  return { status, body: `<ErrorResponse xmlns="${NAMESPACE}">${error}<RequestId>1</RequestId></ErrorResponse>` };
}

/** What the credential service of a container answers. */
export function containerAnswer({ accessKeyId, secretAccessKey, sessionToken }: TemporaryKey): CredentialAnswer {
  const body = { AccessKeyId: accessKeyId, SecretAccessKey: secretAccessKey, Token: sessionToken, Expiration: EXPIRES };
  return { status: 200, body: JSON.stringify(body) };
}

/** On a free port of 127.0.0.1. */
export async function startCredentialServer(answer: CredentialAnswer): Promise<CredentialServer> {
  const asked: string[] = [];
  const listener: RequestListener = async (request, response) => {
    asked.push(`${request.url} ${await textOf(request)}`);
    if (state.answer === 'hang') return;
    response.writeHead(state.answer.status, { 'content-type': 'text/xml' }).end(state.answer.body);
  };
  const server: Server = createServer((request, response) => void listener(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const state: CredentialServer = {
    url: `http://127.0.0.1:${port}`,
    asked,
    answer,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return state;
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks).toString('utf8');
}
