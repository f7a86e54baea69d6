import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';

const FIRST = 10_000;
const LAST = 65_535;
const TRIES = 50;
/** The default of Linux. */
const OUTGOING_DEFAULT = [32_768, 60_999] as const;

/**
 * A free port of 127.0.0.1 that no outgoing connection takes while nobody listens on it: for a server that is ended and started again. Two calls may
 * give the same, though hardly.
 */
export async function findFixedPort(): Promise<number> {
  const [firstOutgoing, lastOutgoing] = await outgoingPorts();
  const below = Math.max(0, firstOutgoing - FIRST);
  const above = Math.max(0, LAST - lastOutgoing);
  for (let attempt = 1; attempt <= TRIES && below + above > 0; attempt++) {
    const index = Math.floor(Math.random() * (below + above));
    const port = index < below ? FIRST + index : lastOutgoing + 1 + index - below;
    if (await isFree(port)) return port;
  }
  throw new Error('no free port on 127.0.0.1 that outgoing connections leave alone');
}

async function outgoingPorts(): Promise<readonly [number, number]> {
  const text = await readFile('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').catch(() => '');
  const [first, last] = text.trim().split(/\s+/).map(Number);
  return first !== undefined && last !== undefined ? [first, last] : OUTGOING_DEFAULT;
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
  } catch {
    return false;
  }
  server.close();
  await once(server, 'close');
  return true;
}
