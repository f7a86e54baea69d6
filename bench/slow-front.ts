import { Agent, createServer, request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export interface SlowFront {
  /** `http://127.0.0.1:port` */
  readonly address: string;
  /** What is asked below this path waits so long before it goes on; `Infinity`: it is never answered. */
  slowDown(path: string, ms: number): void;
  close(): Promise<void>;
}

/** Stands in front of a server, so that some of its paths are slow or dead while the others, at the same address, are well. */
export async function startSlowFront(target: string): Promise<SlowFront> {
  const { hostname: host, port } = new URL(target);
  const agent = new Agent({ keepAlive: true });
  const slow = new Map<string, number>();
  const server = createServer(async (request, response) => {
    const { url: path = '', method, headers } = request;
    const waitMs = [...slow].find(([prefix]) => path.startsWith(prefix))?.[1] ?? 0;
    if (waitMs === Number.POSITIVE_INFINITY) return void request.resume();
    if (waitMs > 0) await sleep(waitMs);
    const passed = httpRequest({ host, port, agent, path, method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    passed.once('error', () => response.destroy());
    request.pipe(passed);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    slowDown: (path, ms) => void slow.set(path, ms),
    async close() {
      agent.destroy();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
