import type { Socket } from 'node:net';
import { type Alarm, createAlarm } from '../issuance/queue/alarm.ts';
import type { Clock } from '../runtime/clock.ts';

/** A live one answers gRPC's ping each half a minute. */
const SILENT_MS = 90_000;
/** Without a stream that has proven who it is. */
const UNUSED_MS = 60_000;
/** A stream that was told its end and is not over: its client takes nothing any more. */
const ENDING_MS = 10_000;
const LOOK_EVERY_MS = 5_000;

interface Connection {
  readonly socket: Socket;
  streams: number;
  unusedSinceMs: number;
  bytesRead: number;
  readAtMs: number;
  /** When streams were told their end. */
  readonly endings: Set<{ readonly sinceMs: number }>;
}

/**
 * Cuts off the connections that take a place and are used for nothing. gRPC closes what is silent or idle gracefully, which a client can draw out for ever;
 * and places are limited.
 */
export class Connections {
  readonly #clock: Pick<Clock, 'monotonicMs' | 'sleep'>;
  readonly #alarm: Alarm;
  readonly #open = new Map<string, Connection>();

  constructor(clock: Pick<Clock, 'monotonicMs' | 'sleep'>) {
    this.#clock = clock;
    this.#alarm = createAlarm(clock, () => this.#look());
  }

  add(socket: Socket): void {
    const nowMs = this.#clock.monotonicMs();
    const peer = `${socket.remoteAddress}:${socket.remotePort}`;
    const times = { unusedSinceMs: nowMs, readAtMs: nowMs };
    const added: Connection = { socket, streams: 0, bytesRead: 0, endings: new Set(), ...times };
    this.#open.set(peer, added);
    socket.once('close', () => {
      if (this.#open.get(peer) === added) this.#open.delete(peer);
      if (this.#open.size === 0) this.#alarm.stop();
    });
    this.#alarm.ringAt(nowMs + LOOK_EVERY_MS);
  }

  /**
   * A stream has proven who it is. Returns what ends that; to be called once.
   * @param peer as gRPC's `getPeer` tells it
   */
  use(peer: string): () => void {
    const connection = this.#open.get(peer);
    if (connection === undefined) return () => {};
    connection.streams += 1;
    return () => {
      connection.streams -= 1;
      connection.unusedSinceMs = this.#clock.monotonicMs();
    };
  }

  /** A stream was told its end. Returns what to call when it is over. */
  ending(peer: string): () => void {
    const connection = this.#open.get(peer);
    const ending = { sinceMs: this.#clock.monotonicMs() };
    connection?.endings.add(ending);
    return () => void connection?.endings.delete(ending);
  }

  close(): void {
    this.#alarm.stop();
  }

  #look(): void {
    const nowMs = this.#clock.monotonicMs();
    for (const connection of this.#open.values()) {
      const { socket, streams, unusedSinceMs, endings } = connection;
      if (socket.bytesRead !== connection.bytesRead) {
        connection.bytesRead = socket.bytesRead;
        connection.readAtMs = nowMs;
      }
      const [oldest] = endings;
      const isDead =
        nowMs - connection.readAtMs > SILENT_MS ||
        (streams === 0 && nowMs - unusedSinceMs > UNUSED_MS) ||
        (oldest !== undefined && nowMs - oldest.sinceMs > ENDING_MS);
      if (isDead) socket.destroy();
    }
    if (this.#open.size > 0) this.#alarm.ringAt(nowMs + LOOK_EVERY_MS);
  }
}
