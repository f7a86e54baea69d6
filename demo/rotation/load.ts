import { setMaxListeners } from 'node:events';
import { Agent, type IncomingMessage, type RequestOptions, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { STREAM_PATH } from './echo-service.ts';
import { LoadCounts } from './load-counts.ts';
import { type ConnectionMode, egressPath } from './proxy-bootstrap.ts';

/** One proxy's service calling another's. */
export interface Call {
  readonly from: { readonly name: string; readonly spiffeId: string; readonly egressPort: number };
  readonly to: string;
}

export interface Load {
  /** What came of all requests so far. */
  total(): LoadCounts;
  /** What came of those that ended since the last call, or since the start. */
  nextPart(): LoadCounts;
  /** Waits for requests under way. What they come to is counted. Idempotent. */
  stop(): Promise<void>;
}

/** Where the lanes tell what came of a request. */
type Sink = Pick<LoadCounts, 'succeeded' | 'failed'>;

const HOST = '127.0.0.1';
const PAUSE_MS = 40;
const ANSWER_WITHIN_MS = 30_000;
const REASON_MAX = 240;

/**
 * Constant load, for each call three lanes: one request after the other on a connection that is kept (on both sides of the proxies), one after the other on a
 * new connection each, and an answer that does not end. Answers count only when they come from the right service, which was told the right caller.
 */
export function startLoad(calls: readonly Call[]): Load {
  const stopping = new AbortController();
  setMaxListeners(0, stopping.signal);
  const total = new LoadCounts();
  let part = new LoadCounts();
  const sink: Sink = {
    succeeded: (latencyMs) => {
      total.succeeded(latencyMs);
      part.succeeded(latencyMs);
    },
    failed: (reason) => {
      total.failed(reason);
      part.failed(reason);
    },
  };
  const lanes = calls.flatMap((call) => [
    runLane(call, 'kept', sink, stopping.signal),
    runLane(call, 'new', sink, stopping.signal),
    runStream(call, sink, stopping.signal),
  ]);
  let stopped: Promise<void> | undefined;
  return {
    total: () => total,
    nextPart: () => {
      const ended = part;
      part = new LoadCounts();
      return ended;
    },
    stop: () => {
      stopping.abort();
      stopped ??= Promise.all(lanes).then(() => {});
      return stopped;
    },
  };
}

async function runLane(call: Call, mode: ConnectionMode, sink: Sink, stop: AbortSignal): Promise<void> {
  const agent = mode === 'kept' ? new Agent({ keepAlive: true, maxSockets: 1 }) : undefined;
  try {
    while (!stop.aborted) {
      const startedMs = performance.now();
      try {
        const { status, text } = await ask(call, egressPath(call.to, mode, ''), agent);
        const fault = faultOf(call, status, text);
        if (fault === undefined) sink.succeeded(performance.now() - startedMs);
        else sink.failed(reasonOf(call, mode, fault));
      } catch (error) {
        sink.failed(reasonOf(call, mode, error instanceof Error ? error.message : String(error)));
      }
      await sleep(PAUSE_MS, undefined, { signal: stop }).catch(() => {});
    }
  } finally {
    agent?.destroy();
  }
}

/** An answer that goes on for as long as the load does, and counts then. One that ends is a failure, and another takes its place. */
async function runStream(call: Call, sink: Sink, stop: AbortSignal): Promise<void> {
  while (!stop.aborted) {
    const { firstByteMs, fault } = await readStream(call, stop);
    if (!stop.aborted) sink.failed(reasonOf(call, 'stream', fault));
    else if (firstByteMs !== undefined) sink.succeeded(firstByteMs);
    await sleep(PAUSE_MS, undefined, { signal: stop }).catch(() => {});
  }
}

interface StreamEnd {
  readonly firstByteMs: number | undefined;
  readonly fault: string;
}

function readStream(call: Call, stop: AbortSignal): Promise<StreamEnd> {
  const path = egressPath(call.to, 'kept', STREAM_PATH);
  const startedMs = performance.now();
  let firstByteMs: number | undefined;
  return new Promise((resolve) => {
    const end = (fault: string) => resolve({ firstByteMs, fault });
    const asked = request({ ...target(call, path), agent: false, signal: stop }, (answer) => {
      answer.once('data', () => {
        firstByteMs = performance.now() - startedMs;
      });
      answer.once('error', (error) => end(error.message));
      answer.once('end', () => end(`ended with status ${answer.statusCode}`));
      answer.resume();
    });
    asked.once('error', (error) => end(error.message));
    asked.setTimeout(ANSWER_WITHIN_MS, () => asked.destroy(new Error('the stream went silent')));
    asked.end();
  });
}

interface Answer {
  readonly status: number;
  readonly text: string;
}

function ask(call: Call, path: string, agent: Agent | undefined): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const read = (answer: IncomingMessage) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      answer.once('error', reject);
      answer.once('end', () => resolve({ status: answer.statusCode ?? 0, text }));
    };
    const asked = request({ ...target(call, path), agent: agent ?? false }, read);
    asked.setTimeout(ANSWER_WITHIN_MS, () => asked.destroy(new Error(`no answer within ${ANSWER_WITHIN_MS} ms`)));
    asked.once('error', reject);
    asked.end();
  });
}

function target({ from }: Call, path: string): RequestOptions {
  return { host: HOST, port: from.egressPort, path };
}

function faultOf({ from, to }: Call, status: number, text: string): string | undefined {
  if (status !== 200) return `status ${status}: ${text}`;
  const echo: unknown = JSON.parse(text);
  const { service, caller } = Object(echo);
  if (service !== to) return `answered by ${service}`;
  const ids = String(caller).split(/[;,]/);
  return ids.includes(`URI=${from.spiffeId}`) ? undefined : `the caller was taken for ${caller}`;
}

function reasonOf({ from, to }: Call, lane: string, fault: string): string {
  return `${from.name} to ${to}, ${lane}: ${withoutFrame(fault).trim()}`.slice(0, REASON_MAX);
}

/** What Envoy puts around each of OpenSSL's words. */
function withoutFrame(text: string): string {
  return text.replace(/TLS_error:\|\d+:SSL_routines:OPENSSL_internal:/g, 'TLS ').replaceAll(':TLS_error_end', '');
}
