import { randomBytes } from 'node:crypto';
import { once, setMaxListeners } from 'node:events';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** What the proxy does with connections. A mode holds for open connections and for new ones, from the moment it is set. */
export type ProxyMode =
  | { readonly kind: 'forward' }
  /** Nobody listens; open connections are reset. The port stays ours. */
  | { readonly kind: 'refuse' }
  /** Every connection is reset: open ones now, new ones at their first byte. */
  | { readonly kind: 'reset' }
  /**
   * Everything is swallowed and nothing closed. Connections that saw this mode stay dead for ever, as behind a firewall that dropped its
   * state; those that are opened later work.
   */
  | { readonly kind: 'half-open' }
  /** Each chunk, in both directions, waits this long. */
  | { readonly kind: 'slow'; readonly latencyMs: number }
  /** Each chunk of a client is answered by random bytes; the server sees none of them. */
  | { readonly kind: 'garbage' }
  /** Each chunk of a client is answered by these bytes and the end of the connection. */
  | { readonly kind: 'answer'; readonly bytes: Buffer }
  /** The first chunk of the next answer is shortened, and then the connection ends in this way. */
  | { readonly kind: 'cut'; readonly shorten: (answer: Buffer) => Buffer; readonly ending: 'end' | 'reset' | 'stall' };

export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface ProxyCounters {
  readonly accepted: number;
  readonly open: number;
  readonly bytesFromClients: number;
  readonly bytesFromServer: number;
}

export interface TcpProxy extends Address {
  /** Resolves when the mode holds. */
  set(mode: ProxyMode): Promise<void>;
  /** Where new connections go from now on. */
  setTarget(target: Address): void;
  counters(): ProxyCounters;
  /** Resets every open connection, whatever the mode. */
  resetAll(): void;
  /** Idempotent. */
  close(): Promise<void>;
}

export interface TcpProxyOptions {
  /** Called for each connection; what it returns is given every chunk that the client sends. */
  readonly observe?: () => (chunk: Buffer) => void;
}

interface Connection {
  readonly client: net.Socket;
  readonly server: net.Socket;
  /** Nothing passes any more, and nothing is closed. */
  isDead: boolean;
}

const HOST = '127.0.0.1';
const GARBAGE_BYTES = 512;
const LISTEN_TRIES = 40;

/** A TCP proxy on a free port of 127.0.0.1 that can be told to misbehave. It knows nothing of what passes through it. */
export async function startTcpProxy(target: Address, options: TcpProxyOptions = {}): Promise<TcpProxy> {
  const connections = new Set<Connection>();
  const closing = new AbortController();
  setMaxListeners(0, closing.signal);
  const counters = { accepted: 0, bytesFromClients: 0, bytesFromServer: 0 };
  let mode: ProxyMode = { kind: 'forward' };
  let to = target;

  const listener = net.createServer({ allowHalfOpen: true, noDelay: true }, (client) => accept(client));
  await listen(listener, 0);
  const { port } = listener.address() as net.AddressInfo;

  function accept(client: net.Socket): void {
    counters.accepted += 1;
    const server = net.connect({ ...to, allowHalfOpen: true, noDelay: true });
    const connection: Connection = { client, server, isDead: mode.kind === 'half-open' };
    connections.add(connection);
    const observe = options.observe?.();
    const toServer = createPipe(server);
    const toClient = createPipe(client);

    client.on('data', (chunk) => {
      counters.bytesFromClients += chunk.length;
      observe?.(chunk);
      if (connection.isDead) return;
      if (mode.kind === 'reset') reset(connection);
      else if (mode.kind === 'garbage') client.write(randomBytes(GARBAGE_BYTES));
      else if (mode.kind === 'answer') client.end(mode.bytes);
      else toServer.send(chunk);
    });
    server.on('data', (chunk) => {
      counters.bytesFromServer += chunk.length;
      if (connection.isDead) return;
      if (mode.kind === 'cut') cut(connection, chunk, mode);
      else toClient.send(chunk);
    });
    client.once('end', () => (connection.isDead ? end(connection) : toServer.end()));
    server.once('end', () => connection.isDead || toClient.end());
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      socket.once('error', () => connection.isDead || other.resetAndDestroy());
      socket.once('close', () => {
        // A dead connection is seen by nobody: the client keeps its end until it gives up by itself.
        if (connection.isDead && socket === server) return;
        if (!connection.isDead) other.end();
        if (client.closed) end(connection);
      });
    }
  }

  /** Chunks in their order, each as late as the mode wants it. */
  function createPipe(socket: net.Socket): { send(chunk: Buffer): void; end(): void } {
    let tail: Promise<void> | undefined;
    const inTurn = (act: () => void) => {
      if (mode.kind !== 'slow' && tail === undefined) return act();
      const latencyMs = mode.kind === 'slow' ? mode.latencyMs : 0;
      const mine = (tail ?? Promise.resolve())
        .then(() => sleep(latencyMs, undefined, { signal: closing.signal }))
        .then(act, () => {})
        .then(() => {
          if (tail === mine) tail = undefined;
        });
      tail = mine;
    };
    return {
      send: (chunk) => inTurn(() => socket.writable && socket.write(chunk)),
      end: () => inTurn(() => socket.end()),
    };
  }

  function cut(connection: Connection, chunk: Buffer, { shorten, ending }: ProxyMode & { kind: 'cut' }): void {
    connection.isDead = true;
    const { client, server } = connection;
    const finish = () => {
      if (ending === 'reset') reset(connection);
      else if (ending === 'end') client.end(() => end(connection));
    };
    const short = shorten(chunk);
    if (short.length === 0) finish();
    else client.write(short, finish);
    server.destroy();
  }

  function reset(connection: Connection): void {
    connection.client.resetAndDestroy();
    end(connection);
  }

  function end(connection: Connection): void {
    connections.delete(connection);
    connection.server.destroy();
    connection.client.destroy();
  }

  const resetAll = () => {
    for (const connection of [...connections]) reset(connection);
  };
  const stopListening = async () => {
    if (!listener.listening) return;
    const closed = once(listener, 'close');
    listener.close();
    resetAll();
    await closed;
  };

  return {
    host: HOST,
    port,
    async set(next) {
      mode = next;
      if (next.kind === 'refuse') return stopListening();
      if (!listener.listening) await listen(listener, port);
      if (next.kind === 'reset') resetAll();
      if (next.kind === 'half-open') for (const connection of connections) connection.isDead = true;
    },
    setTarget(target) {
      to = target;
    },
    counters: () => ({ ...counters, open: connections.size }),
    resetAll,
    async close() {
      closing.abort();
      await stopListening();
      resetAll();
    },
  };
}

/** The port may be somebody's outgoing connection for a moment while nobody listens on it. */
async function listen(listener: net.Server, port: number): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      listener.listen(port, HOST);
      await once(listener, 'listening');
      return;
    } catch (error) {
      if (attempt === LISTEN_TRIES) throw error;
      await sleep(25);
    }
  }
}
