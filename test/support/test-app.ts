import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type App, type AppParts, startApp } from '../../src/app.ts';
import { createLog } from '../../src/runtime/create-log.ts';
import { loadSettings } from '../../src/runtime/settings.ts';

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The body as JSON; undefined when it is none. */
  readonly json: Json;
}

/** Any JSON, read without casts: a missing member is undefined. */
export interface Json {
  readonly [key: string]: Json;
  readonly [index: number]: Json;
}

export interface TestApp {
  readonly app: App;
  /** Every log line so far. */
  readonly log: string[];
  readonly dataDir: string;
  request(method: string, path: string, body?: unknown, headers?: Readonly<Record<string, string>>): Promise<Answer>;
  /** `request` that must succeed. */
  ok(method: string, path: string, body?: unknown): Promise<Answer>;
  close(): Promise<void>;
}

/** A whole mesh-ca on a free port, with the memory store and without canary unless told otherwise. */
export async function startTestApp(
  flags: Readonly<Record<string, unknown>> = {},
  parts: Partial<AppParts> = {},
): Promise<TestApp> {
  const dataDir = await mkdtemp(join(tmpdir(), 'mesh-ca-test-'));
  const log: string[] = [];
  const settings = loadSettings({
    flags: { apiPort: '0', sdsPort: 'off', store: 'memory:', dataDir, canaryInterval: '0s', ...flags },
    env: {},
  });
  const app = await startApp(settings, {
    log: createLog({ level: 'debug', destination: { write: (line) => void log.push(line) } }),
    ...parts,
  });
  const request: TestApp['request'] = async (method, path, body, headers = {}) => {
    const response = await fetch(`${app.address}${path}`, {
      method,
      headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, headers: response.headers, text, json: parseJson(text) };
  };
  return {
    app,
    log,
    dataDir,
    request,
    async ok(method, path, body) {
      const answer = await request(method, path, body);
      if (answer.status >= 400) throw new Error(`${method} ${path}: ${answer.status} ${answer.text}`);
      return answer;
    },
    async close() {
      await app.close();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

export function parseJson(text: string): Json {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

/** A Mesh with one builtin backend of EC keys, quick to make. */
export function builtinMesh(name: string, more: object = {}): object {
  return {
    type: 'Mesh',
    name,
    mtls: {
      enabledBackend: 'ca-1',
      backends: [{ name: 'ca-1', type: 'builtin', conf: { caCert: { keyType: 'EC-P256' } } }],
      ...more,
    },
  };
}

/** A Dataplane with one inbound. */
export function dataplane(mesh: string, name: string, tags: Readonly<Record<string, string>>): object {
  return {
    type: 'Dataplane',
    mesh,
    name,
    networking: { address: '127.0.0.1', inbound: [{ port: 8080, tags }] },
  };
}
