import { Agent, request as httpRequest } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { percentile } from './percentile.ts';

export interface AskAtRate {
  /** `http://127.0.0.1:port` */
  readonly address: string;
  readonly perSecond: number;
  readonly count: number;
  /** The `index`-th POST. */
  request(index: number): { readonly path: string; readonly body: string };
}

export interface AskedAtRate {
  /** `outcome` of the answer, or its `code`, or its HTTP status -> how often. */
  readonly outcomes: Readonly<Record<string, number>>;
  /** From the moment at which a request was due, so that a server that falls behind cannot hide it. */
  readonly latenciesMs: readonly number[];
  readonly seconds: number;
}

/** Connections that may be open; more requests wait for one, and the wait counts. */
const MOST_CONNECTIONS = 256;

/** Asks at a fixed rate, whatever the answers take: what proxies do, which do not wait for each other. */
export async function askAtRate({ address, perSecond, count, request }: AskAtRate): Promise<AskedAtRate> {
  const agent = new Agent({ keepAlive: true, maxSockets: MOST_CONNECTIONS });
  const outcomes: Record<string, number> = {};
  const latenciesMs: number[] = [];
  const startedAt = performance.now();
  const asked: Promise<void>[] = [];
  for (let index = 0; index < count; index += 1) {
    const dueAt = startedAt + (1000 * index) / perSecond;
    const waitMs = dueAt - performance.now();
    if (waitMs > 1) await sleep(waitMs);
    const one = async () => {
      const outcome = await post(agent, address, request(index));
      latenciesMs.push(performance.now() - Math.max(dueAt, startedAt));
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    };
    asked.push(one());
  }
  await Promise.all(asked);
  const seconds = (performance.now() - startedAt) / 1000;
  agent.destroy();
  return { outcomes, latenciesMs, seconds };
}

/** 50th and 99th percentile, and the longest. */
export function spreadOf(latenciesMs: readonly number[]): { p50Ms: number; p99Ms: number; maxMs: number } {
  const sorted = [...latenciesMs].sort((one, other) => one - other);
  return { p50Ms: percentile(sorted, 0.5), p99Ms: percentile(sorted, 0.99), maxMs: sorted.at(-1) ?? 0 };
}

function post(agent: Agent, address: string, { path, body }: ReturnType<AskAtRate['request']>): Promise<string> {
  return new Promise((resolve) => {
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    const asked = httpRequest(address + path, { method: 'POST', agent, headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => void chunks.push(chunk));
      response.on('error', () => resolve('no answer'));
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString('utf8');
        resolve(/"(?:outcome|code)":"(\w+)"/.exec(text)?.[1] ?? String(response.statusCode));
      });
    });
    asked.on('error', () => resolve('no answer'));
    asked.end(body);
  });
}
