import net from 'node:net';

/** Connections that this process tried to open to `port`, refused ones, too; plain and TLS. */
export interface ConnectCounter {
  readonly count: number;
  stop(): void;
}

/** Where nobody listens, only the caller's side knows how often it was tried. */
export function countConnects(port: number): ConnectCounter {
  const original = net.Socket.prototype.connect;
  let count = 0;
  function connect(this: net.Socket, ...args: unknown[]): net.Socket {
    if (portOf(args[0]) === port) count += 1;
    return Reflect.apply(original, this, args);
  }
  net.Socket.prototype.connect = connect;
  return {
    get count() {
      return count;
    },
    stop() {
      if (net.Socket.prototype.connect === connect) net.Socket.prototype.connect = original;
    },
  };
}

/** Either the options, or, from `net.connect`, a list that begins with them. */
function portOf(first: unknown): number {
  const options: unknown = Array.isArray(first) ? first[0] : first;
  return typeof options === 'object' && options !== null && 'port' in options ? Number(options.port) : Number(first);
}
