import { percentile } from './percentile.ts';

/** What callers saw of many requests for certificates. */
export interface Asked {
  readonly issued: number;
  /** Error code, or HTTP status -> how often it was answered. */
  readonly failures: Readonly<Record<string, number>>;
  readonly seconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface AskOptions {
  readonly address: () => string;
  readonly mesh: string;
  /** Certificates wanted in all, each for a data plane of its own. */
  readonly count: number;
  /** Callers at the same time; each waits for its answer before it asks again. */
  readonly callers: number;
  /** PEM, used in turn. None: the key is made by mesh-ca. */
  readonly csrs?: readonly string[];
  /** A caller that is told to try again does so, as proxies do, this often. */
  readonly tries: number;
  readonly onIssued?: (sofar: number) => void;
}

const TAGS = { 'kuma.io/service': 'backend', version: 'v1' };
const PAUSE_MS = 100;

/** Asks like a mesh of proxies: every failure that may pass is asked again. */
export function askForCertificates(options: AskOptions): Promise<Asked> {
  let issued = 0;
  return runCallers(options, async (index, note) => {
    const csr = options.csrs?.[index % options.csrs.length];
    const body = JSON.stringify(csr === undefined ? { tags: TAGS } : { csr, tags: TAGS });
    for (let attempt = 0; attempt < options.tries; attempt += 1) {
      const sentAt = performance.now();
      const url = `${options.address()}/meshes/${options.mesh}/dataplanes/dp-${index}/_certificate`;
      const outcome = await post(url, body);
      if (outcome === 'issued') {
        note.issued(sentAt);
        issued += 1;
        options.onIssued?.(issued);
        return;
      }
      note.failed(outcome);
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  });
}

/** What a caller tells of one certificate. */
interface Note {
  /** @param sentAt by `performance.now()` */
  issued(sentAt: number): void;
  failed(outcome: string): void;
}

/** Lets `callers` go through the numbers from 0 to `count`, each its next one when the last is done. */
export async function runCallers(
  { count, callers }: Pick<AskOptions, 'count' | 'callers'>,
  askOne: (index: number, note: Note) => Promise<void>,
): Promise<Asked> {
  const failures: Record<string, number> = {};
  const latencies: number[] = [];
  const note: Note = {
    issued: (sentAt) => void latencies.push(performance.now() - sentAt),
    failed(outcome) {
      failures[outcome] = (failures[outcome] ?? 0) + 1;
    },
  };
  let next = 0;
  const startedAt = performance.now();
  async function caller(): Promise<void> {
    while (next < count) {
      const index = next;
      next += 1;
      await askOne(index, note);
    }
  }
  await Promise.all(Array.from({ length: callers }, caller));
  const seconds = (performance.now() - startedAt) / 1000;
  latencies.sort((one, other) => one - other);
  const [p50Ms, p99Ms] = [percentile(latencies, 0.5), percentile(latencies, 0.99)];
  return { issued: latencies.length, failures, seconds, p50Ms, p99Ms };
}

async function post(url: string, body: string): Promise<string> {
  try {
    const response = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
    const text = await response.text();
    if (response.status === 200 || response.status === 201) return 'issued';
    return /"code":"(\w+)"/.exec(text)?.[1] ?? String(response.status);
  } catch {
    return 'no answer';
  }
}
