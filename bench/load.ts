import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { percentile } from './percentile.ts';
import { createResponseReader, type HttpAnswer } from './response-reader.ts';

export interface LoadOptions {
  /** `http://127.0.0.1:port` */
  readonly address: string;
  /** Each waits for its answer before it asks again. */
  readonly connections: number;
  /** The whole request, head and body, latin1. `index` counts from 0 and never repeats. */
  request(index: number): string;
  /** What is wrong with an answer; undefined when nothing is. */
  judge(answer: HttpAnswer): string | undefined;
}

export interface Window {
  /** Answers that arrived in it. */
  readonly answers: number;
  readonly seconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface Load {
  /**
   * Lets the load run on and tells what it did meanwhile.
   * @throws Error when an answer was wrong or a connection broke
   */
  measure(ms: number): Promise<Window>;
  /** Body of the last answer. */
  lastBody(): string;
  close(): void;
}

/** Asks without pause on raw keep-alive sockets until it is closed. */
export async function startLoad(options: LoadOptions): Promise<Load> {
  const { hostname, port } = new URL(options.address);
  let index = 0;
  let latencies: number[] = [];
  let last: HttpAnswer | undefined;
  let failure: Error | undefined;
  let closed = false;
  const sockets: Socket[] = [];

  const close = () => {
    closed = true;
    for (const socket of sockets) socket.destroy();
  };
  const fail = (error: Error) => {
    if (!closed) failure ??= error;
    close();
  };

  function run(socket: Socket): void {
    const reader = createResponseReader();
    let sentAt = 0;
    const send = () => {
      sentAt = performance.now();
      socket.write(options.request(index++), 'latin1');
    };
    socket.on('data', (chunk) => {
      try {
        const answer = reader.push(chunk);
        if (answer === undefined) return;
        const wrong = options.judge(answer);
        if (wrong !== undefined) throw new Error(wrong);
        latencies.push(performance.now() - sentAt);
        last = answer;
      } catch (error) {
        fail(error instanceof Error ? error : new Error(String(error)));
        return;
      }
      if (!closed) send();
    });
    socket.on('error', fail);
    socket.on('close', () => fail(new Error('the server closed a connection')));
    send();
  }

  for (let i = 0; i < options.connections; i += 1) {
    const socket = connect({ host: hostname, port: Number(port), noDelay: true });
    sockets.push(socket);
    await once(socket, 'connect');
  }
  for (const socket of sockets) run(socket);

  return {
    async measure(ms) {
      latencies = [];
      const startedAt = performance.now();
      const endsAt = startedAt + ms;
      while (failure === undefined && performance.now() < endsAt) {
        await sleep(Math.min(50, Math.max(1, endsAt - performance.now())));
      }
      const taken = latencies;
      const seconds = (performance.now() - startedAt) / 1000;
      if (failure !== undefined) throw failure;
      taken.sort((a, b) => a - b);
      return { answers: taken.length, seconds, p50Ms: percentile(taken, 0.5), p99Ms: percentile(taken, 0.99) };
    },
    lastBody: () => last?.body.toString('utf8') ?? '',
    close,
  };
}
