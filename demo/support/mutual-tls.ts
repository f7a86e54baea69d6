import { once } from 'node:events';
import { createServer, request } from 'node:https';
import type { PeerCertificate, TLSSocket } from 'node:tls';
import type { DataplaneFiles } from '../steps/get-certificates.ts';

export interface MutualTlsServer {
  readonly port: number;
  /** Why the next client is turned away in the handshake: OpenSSL's name of the reason. Rejects when none is in time. */
  nextRefusal(signal: AbortSignal): Promise<string>;
  close(): Promise<void>;
}

export interface MutualTlsCall {
  readonly status: number;
  readonly protocol: string;
  /** SPIFFE ID of the client, as the server read it from the client's certificate. */
  readonly client: string;
  /** SPIFFE ID of the server, as the client read it. */
  readonly server: string;
}

const TIMEOUT_MS = 10_000;
const HOST = '127.0.0.1';

/** What a side needs of a proxy's files, all PEM. */
export type TlsFiles = Pick<DataplaneFiles, 'key' | 'chain' | 'trustBundle'>;

/** An HTTPS server that wants a certificate from its own mesh and answers 403 to everybody but `clientId`. Port 0: a free one. */
export async function startServer(files: TlsFiles, clientId: string, port = 0): Promise<MutualTlsServer> {
  const server = createServer(
    { cert: files.chain, key: files.key, ca: files.trustBundle, requestCert: true, rejectUnauthorized: true },
    (call, answer) => {
      const peer = 'getPeerCertificate' in call.socket ? (call.socket as TLSSocket).getPeerCertificate() : undefined;
      const seen = peer === undefined ? '' : spiffeIdOf(peer);
      answer.writeHead(seen === clientId ? 200 : 403).end(seen);
    },
  );
  server.listen(port, HOST);
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new TypeError('the server has no port');
  return {
    port: address.port,
    nextRefusal: async (signal) => {
      const withinTime = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]);
      const [error, socket] = await once(server, 'tlsClientError', { signal: withinTime });
      return String(socket.authorizationError ?? error.code);
    },
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

/**
 * Calls the server with the certificate of a data plane, and wants it to be `serverId`; undefined: whoever it is.
 * @throws Error when one side refuses the other
 */
export function callServer(
  port: number,
  files: TlsFiles,
  serverId: string | undefined,
  signal: AbortSignal,
): Promise<MutualTlsCall> {
  return new Promise((resolve, reject) => {
    let server = '';
    const call = request({
      host: HOST,
      port,
      cert: files.chain,
      key: files.key,
      ca: files.trustBundle,
      rejectUnauthorized: serverId !== undefined,
      // A mesh asks who it is, not what it is called: the SPIFFE ID takes the place of the host name.
      checkServerIdentity: (_host, peer) => {
        server = spiffeIdOf(peer);
        return server === serverId ? undefined : new Error(`the server is ${server || 'nobody'}, not ${serverId}`);
      },
      agent: false,
      signal,
      timeout: TIMEOUT_MS,
    });
    call.once('timeout', () => call.destroy(new Error(`no answer within ${TIMEOUT_MS} ms`)));
    call.once('error', reject);
    call.once('response', (answer) => {
      const protocol = (answer.socket as TLSSocket).getProtocol() ?? '';
      let client = '';
      answer.setEncoding('utf8').on('data', (text: string) => {
        client += text;
      });
      answer.once('end', () => {
        const status = answer.statusCode ?? 0;
        if (status === 200) resolve({ status, protocol, client, server });
        else reject(new Error(`the server took the client for ${client || 'nobody'} and answered ${status}`));
      });
    });
    call.end();
  });
}

/** The one SPIFFE ID among the subject alternative names; '' when there is none, or more than one. */
function spiffeIdOf({ subjectaltname = '' }: PeerCertificate): string {
  const ids = subjectaltname.split(', ').flatMap((name) => (name.startsWith('URI:spiffe://') ? [name.slice(4)] : []));
  return ids.length === 1 ? (ids[0] ?? '') : '';
}
