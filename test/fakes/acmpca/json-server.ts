import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import https from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { ServerCertificate } from '../../../testcontainers/server-certificate.ts';

export interface ReceivedRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: Buffer;
}

/** `hang` never answers, `reset` breaks the connection. */
export type Reply =
  | 'hang'
  | 'reset'
  | { readonly status: number; readonly headers?: Readonly<Record<string, string>>; readonly body?: string };

export interface JsonServer {
  readonly endpoint: string;
  connections(): { readonly opened: number; readonly open: number };
  dropConnections(): void;
  /** Idempotent: nobody listens, nothing is connected. */
  stop(): Promise<void>;
  /** On the same port again. */
  start(): Promise<void>;
}

const MAX_BODY_BYTES = 1024 * 1024;

/** A server on 127.0.0.1 that reads requests whole and may be stopped and started. */
export async function startJsonServer(
  answer: (request: ReceivedRequest) => Reply,
  tls?: ServerCertificate,
): Promise<JsonServer> {
  const sockets = new Set<Socket>();
  let opened = 0;
  const handler: http.RequestListener = (request, response) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > MAX_BODY_BYTES) request.destroy();
      else chunks.push(chunk);
    });
    request.on('end', () => {
      const { method = '', url = '', headers } = request;
      const reply = answer({ method, url, headers, body: Buffer.concat(chunks) });
      if (reply === 'hang') return;
      if (reply === 'reset') request.socket.resetAndDestroy();
      else response.writeHead(reply.status, reply.headers).end(reply.body);
    });
  };
  const options = tls && { cert: await readFile(tls.certFile), key: await readFile(tls.keyFile) };
  const server = options === undefined ? http.createServer(handler) : https.createServer(options, handler);
  server.on(options === undefined ? 'connection' : 'secureConnection', (socket: Socket) => {
    opened += 1;
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  const listen = (port: number) =>
    new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, '127.0.0.1', () => {
        server.removeListener('error', reject);
        resolve();
      });
    });
  await listen(0);
  const { port } = server.address() as AddressInfo;
  return {
    endpoint: `${options === undefined ? 'http' : 'https'}://127.0.0.1:${port}`,
    connections: () => ({ opened, open: sockets.size }),
    dropConnections() {
      for (const socket of sockets) socket.destroy();
    },
    async stop() {
      const closed = [...sockets].map((socket) => once(socket, 'close'));
      const notListening = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await Promise.all([notListening, ...closed]);
    },
    start: () => listen(port),
  };
}
