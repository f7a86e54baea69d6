import type http from 'node:http';
import type { Socket } from 'node:net';
import type { IssuerDeps } from '../../src/issuer/issuer.ts';

/**
 * Knows which idle connections may be dead without having said so: a firewall or load balancer forgot them, or a server went away without a
 * word. A call that gets no byte for a while is the sign; every connection that gave its last byte before that call began is suspected.
 */
interface IdleConnections {
  /** Tells about one call. */
  watch(): WatchedCall;
  /** Destroys the idle connections that a hanging call makes suspect; how many. Called before a connection is taken. */
  dropSuspects(): number;
  dropAll(): number;
  /** Destroys every connection, and those that come later. */
  close(): void;
  /** How long it gave no byte; Infinity before its first. */
  silentForMs(socket: Socket): number;
}

interface WatchedCall {
  /** The connection it got. */
  on(socket: Socket): void;
  /** It has ended. When it had hung, suspects go now: nothing would tell of them later. How many went. */
  end(): number;
}

/** A call without a byte for so long hangs. When it is only slow, that costs a few new handshakes. */
const HANGS_AFTER_MS = 1_000;
/** One that ended after so long without a byte was given up by its caller. */
const GIVEN_UP_AFTER_MS = 250;

export function createIdleConnections(agents: readonly http.Agent[], clock: IssuerDeps['clock']): IdleConnections {
  /** The calls under way by their last byte, or since when they wait for the first; oldest first. */
  const waiting = new Map<object, number>();
  const lastByteMs = new WeakMap<Socket, number>();

  /** Of the calls that hang, when the youngest began. */
  function youngestHanging(): number | undefined {
    const before = clock.monotonicMs() - HANGS_AFTER_MS;
    let youngest: number | undefined;
    for (const sinceMs of waiting.values()) {
      if (sinceMs > before) break;
      youngest = sinceMs;
    }
    return youngest;
  }

  function drop(isSuspect: (socket: Socket) => boolean): number {
    let dropped = 0;
    for (const socket of agents.flatMap(({ freeSockets }) => Object.values(freeSockets).flat())) {
      if (socket === undefined || !isSuspect(socket)) continue;
      socket.destroy();
      dropped += 1;
    }
    return dropped;
  }
  const dropSilentSince = (sinceMs: number) => drop((socket) => (lastByteMs.get(socket) ?? 0) <= sinceMs);

  return {
    watch() {
      const key = {};
      let bound: Socket | undefined;
      const waitAnew = () => {
        waiting.delete(key);
        waiting.set(key, clock.monotonicMs());
      };
      const onByte = () => {
        waitAnew();
        if (bound !== undefined) lastByteMs.set(bound, clock.monotonicMs());
      };
      return {
        on(socket) {
          bound = socket;
          waitAnew();
          socket.on('data', onByte);
        },
        end() {
          bound?.removeListener('data', onByte);
          const sinceMs = waiting.get(key);
          waiting.delete(key);
          if (sinceMs === undefined || clock.monotonicMs() - sinceMs < GIVEN_UP_AFTER_MS) return 0;
          return dropSilentSince(sinceMs);
        },
      };
    },
    dropSuspects() {
      const sinceMs = youngestHanging();
      return sinceMs === undefined ? 0 : dropSilentSince(sinceMs);
    },
    dropAll: () => drop(() => true),
    close() {
      for (const agent of agents) {
        // Node 24 still connects for a call that waited in the agent's queue when it was ended, and keeps that connection.
        agent.on('free', (socket: Socket) => socket.destroy());
        agent.destroy();
      }
    },
    silentForMs: (socket) => clock.monotonicMs() - (lastByteMs.get(socket) ?? Number.NEGATIVE_INFINITY),
  };
}
