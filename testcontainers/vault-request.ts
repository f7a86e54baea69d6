import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { request as httpsRequest } from 'node:https';

export interface VaultRequestOptions {
  readonly token?: string;
  readonly namespace?: string;
}

export interface VaultReply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Parsed JSON; text when it is none; undefined when empty. */
  readonly body: unknown;
}

const TIMEOUT_MS = 30_000;

/** One plain call of Vault's API, for tests and demos to set things up. Not what the adapter uses. */
export function requestVault(
  server: { readonly address: string; readonly caCertPem?: string | undefined },
  method: string,
  path: string,
  body?: unknown,
  options: VaultRequestOptions = {},
): Promise<VaultReply> {
  const url = new URL(`/v1/${path}`, server.address);
  const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
  // RFC 7396: what `vault patch` sends.
  const contentType = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
  const headers: Record<string, string> = { 'X-Vault-Request': 'true', 'content-type': contentType };
  if (options.token !== undefined) headers['X-Vault-Token'] = options.token;
  if (options.namespace !== undefined) headers['X-Vault-Namespace'] = options.namespace;
  return new Promise((resolve, reject) => {
    const call = send(
      url,
      // The set-up must also reach a server whose certificate is made for another name than its address.
      {
        method,
        headers,
        ca: server.caCertPem,
        checkServerIdentity: () => undefined,
        timeout: TIMEOUT_MS,
        agent: false,
      },
      (reply) => {
        const chunks: Buffer[] = [];
        reply.on('data', (chunk: Buffer) => chunks.push(chunk));
        reply.once('error', reject);
        reply.once('end', () =>
          resolve({
            status: reply.statusCode ?? 0,
            headers: reply.headers,
            body: parseBody(Buffer.concat(chunks).toString('utf8')),
          }),
        );
      },
    );
    call.once('timeout', () => call.destroy(new Error(`no answer from ${url.href} within ${TIMEOUT_MS} ms`)));
    call.once('error', reject);
    call.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

function parseBody(text: string): unknown {
  if (text === '') return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
