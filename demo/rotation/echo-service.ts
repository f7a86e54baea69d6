import { once } from 'node:events';
import { createServer } from 'node:http';

/** What it answers, as JSON. */
export interface Echo {
  readonly service: string;
  /** Envoy's `x-forwarded-client-cert`: who called, as the proxy in front of it has verified. */
  readonly caller: string;
}

export interface EchoService {
  readonly port: number;
  /** Idempotent. */
  close(): Promise<void>;
}

/** The path that is answered by a line every now and then, until the caller goes. */
export const STREAM_PATH = 'stream';

const HOST = '127.0.0.1';
const LINE_EVERY_MS = 250;

/** The service behind a proxy: says its name and who called it. */
export async function startEchoService(name: string): Promise<EchoService> {
  const server = createServer((call, answer) => {
    const caller = call.headers['x-forwarded-client-cert'];
    const echo: Echo = { service: name, caller: typeof caller === 'string' ? caller : '' };
    const line = `${JSON.stringify(echo)}\n`;
    answer.writeHead(200, { 'content-type': 'application/json' });
    if (call.url !== `/${STREAM_PATH}`) {
      answer.end(line);
      return;
    }
    answer.write(line);
    const timer = setInterval(() => answer.write(line), LINE_EVERY_MS);
    answer.once('close', () => clearInterval(timer));
  });
  // Only Envoy decides when a connection has served its time: a service that hangs up first is no failure of the mesh.
  server.keepAliveTimeout = 0;
  server.requestTimeout = 0;
  server.listen(0, HOST);
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new TypeError('the service has no port');
  let closing: Promise<void> | undefined;
  return {
    port: address.port,
    close: () => {
      closing ??= new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
      return closing;
    },
  };
}
