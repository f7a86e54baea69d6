import { X509Certificate } from 'node:crypto';
import { type Bench, CONNECTIONS } from './bench.ts';
import type { Measurement } from './figure.ts';
import { type LoadOptions, startLoad } from './load.ts';
import { cpuSecondsBetween, readUsage } from './process-usage.ts';

export interface LoadMeasurement extends Omit<LoadOptions, 'connections'> {
  readonly name: string;
  /** Each waits for its answer before it asks again. Default `CONNECTIONS`. */
  readonly connections?: number;
  /** The servers that share the work. Memory is told of the first. */
  readonly pids: Readonly<Record<string, number>>;
  readonly measureMs: number;
}

/** Warms up, measures, and looks whether the last answer really holds a certificate. */
export async function measureLoad(
  { effort, cleanup, say }: Pick<Bench, 'effort' | 'cleanup' | 'say'>,
  { name, pids, measureMs, connections = CONNECTIONS, ...options }: LoadMeasurement,
): Promise<Measurement> {
  say(name);
  const load = await startLoad({ ...options, connections });
  cleanup.add(load.close);
  try {
    await load.measure(effort.warmUpMs);
    const names = Object.keys(pids);
    const look = () => Object.values(pids).map(readUsage);
    const before = look();
    const window = await load.measure(measureMs);
    const after = look();
    checkCertificate(load.lastBody());
    const per1000 = (seconds: number | undefined) =>
      seconds === undefined ? undefined : (1000 * seconds) / window.answers;
    const cpuSecondsPer1000 = per1000(cpuSecondsBetween(before, after));
    const parts = names.map((part, i) => [part, per1000(cpuSecondsBetween([before[i]], [after[i]]))] as const);
    const [first] = after;
    return {
      name,
      certificatesPerSecond: window.answers / window.seconds,
      p50Ms: window.p50Ms,
      p99Ms: window.p99Ms,
      ...(cpuSecondsPer1000 === undefined ? {} : { cpuSecondsPer1000 }),
      ...(first === undefined ? {} : { rssMb: first.rssMb, peakRssMb: first.peakRssMb }),
      details: {
        certificates: window.answers,
        seconds: window.seconds,
        connections,
        cpuSecondsPer1000ByServer: Object.fromEntries(parts),
      },
    };
  } finally {
    load.close();
  }
}

/** @throws Error when the answer holds no certificate with the SPIFFE ID that was asked for */
function checkCertificate(body: string): void {
  const pem = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/.exec(body)?.[0];
  const certificate = new X509Certificate((pem ?? '').replaceAll('\\n', '\n'));
  if (certificate.subjectAltName?.includes('URI:spiffe://') !== true)
    throw new Error(`a certificate without SPIFFE ID: ${certificate.subjectAltName}`);
}
