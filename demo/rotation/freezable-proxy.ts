import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

/** A network that can stand still. */
export interface FreezableProxy {
  readonly port: number;
  /** From now on nothing passes, and nothing is closed: what is sent waits. */
  freeze(): void;
  /** What waited arrives, in order. */
  thaw(): void;
  /** Idempotent. */
  close(): Promise<void>;
}

const HOST = '127.0.0.1';

/** A TCP proxy on a free port of 127.0.0.1 to a port there. */
export async function startFreezableProxy(targetPort: number): Promise<FreezableProxy> {
  const sockets = new Set<Socket>();
  let frozen = false;

  const hold = (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  };
  // Not `pipe`: it would resume a socket that is frozen.
  const pass = (from: Socket, to: Socket) => {
    from.on('data', (chunk) => {
      if (to.write(chunk)) return;
      from.pause();
      to.once('drain', () => frozen || from.resume());
    });
    from.once('end', () => to.end());
    from.once('error', () => to.destroy());
    from.once('close', () => to.destroy());
    if (frozen) from.pause();
  };

  const listener = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const server = connect({ host: HOST, port: targetPort, allowHalfOpen: true, noDelay: true });
    hold(client);
    hold(server);
    pass(client, server);
    pass(server, client);
  });
  listener.listen(0, HOST);
  await once(listener, 'listening');
  const address = listener.address();
  if (address === null || typeof address === 'string') throw new TypeError('the proxy has no port');
  let closing: Promise<void> | undefined;
  return {
    port: address.port,
    freeze: () => {
      frozen = true;
      for (const socket of sockets) socket.pause();
    },
    thaw: () => {
      frozen = false;
      for (const socket of sockets) socket.resume();
    },
    close: () => {
      closing ??= new Promise((resolve) => {
        listener.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      });
      return closing;
    },
  };
}
