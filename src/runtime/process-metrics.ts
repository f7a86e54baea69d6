import { type EventLoopUtilization, performance } from 'node:perf_hooks';
import { Counter, Gauge, type Registry } from 'prom-client';

/**
 * Memory, CPU and event loop of this process, read when asked for: prom-client's own set starts an observer and a sampler that nothing
 * can stop.
 */
export function addProcessMetrics(registry: Registry): void {
  const registers = [registry];
  let lastUse: EventLoopUtilization = performance.eventLoopUtilization();
  const gauges: readonly [name: string, help: string, read: () => number][] = [
    ['process_resident_memory_bytes', 'Resident memory', () => process.memoryUsage.rss()],
    ['nodejs_heap_size_used_bytes', 'JavaScript heap in use', () => process.memoryUsage().heapUsed],
    ['process_uptime_seconds', 'Seconds since the process was started', () => process.uptime()],
    [
      'nodejs_eventloop_utilization',
      'Share of time since the last reading in which the event loop was busy, 0 to 1',
      () => {
        const use = performance.eventLoopUtilization();
        const since = performance.eventLoopUtilization(use, lastUse);
        lastUse = use;
        return since.utilization;
      },
    ],
  ];
  for (const [name, help, read] of gauges) {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read());
      },
    });
  }
  new Counter({
    name: 'process_cpu_seconds_total',
    help: 'User and system CPU time',
    registers,
    collect() {
      const { user, system } = process.cpuUsage();
      this.reset();
      this.inc((user + system) / 1e6);
    },
  });
}
