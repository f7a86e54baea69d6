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
export async function askForCertificates(options: AskOptions): Promise<Asked> {
  const failures: Record<string, number> = {};
  const latencies: number[] = [];
  let next = 0;
  let issued = 0;
  const startedAt = performance.now();

  async function askOne(index: number): Promise<void> {
    const csr = options.csrs?.[index % options.csrs.length];
    const body = JSON.stringify(csr === undefined ? { tags: TAGS } : { csr, tags: TAGS });
    for (let attempt = 0; attempt < options.tries; attempt += 1) {
      const sentAt = performance.now();
      const outcome = await post(
        `${options.address()}/meshes/${options.mesh}/dataplanes/dp-${index}/_certificate`,
        body,
      );
      if (outcome === 'issued') {
        latencies.push(performance.now() - sentAt);
        issued += 1;
        options.onIssued?.(issued);
        return;
      }
      failures[outcome] = (failures[outcome] ?? 0) + 1;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }

  async function caller(): Promise<void> {
    while (next < options.count) {
      const index = next;
      next += 1;
      await askOne(index);
    }
  }

  await Promise.all(Array.from({ length: options.callers }, caller));
  latencies.sort((a, b) => a - b);
  const percentile = (share: number) => latencies[Math.max(0, Math.ceil(latencies.length * share) - 1)] ?? 0;
  return {
    issued,
    failures,
    seconds: (performance.now() - startedAt) / 1000,
    p50Ms: percentile(0.5),
    p99Ms: percentile(0.99),
  };
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
