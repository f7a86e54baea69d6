import type { Asked } from './ask.ts';
import type { FaultWorld } from './fault-world.ts';

/** What was there before mesh-ca was started. */
export interface Before {
  /** How many of each kind of thing keep the event loop alive. */
  readonly resources: ReadonlyMap<string, number>;
  /** Objects on the server. */
  readonly objects: ReadonlySet<string>;
}

/**
 * What mesh-ca and its adapters can leave behind. Files and pipes are the test runner's. Sockets are counted by the proxy, since those of the
 * fakes are in this process, too.
 */
const KINDS = /TCPServer|Timeout|Immediate|GetAddrInfo|FSEvent|StatWatcher|Worker/;
const GONE_WITHIN_MS = 1_500;
const LOOK_MS = 20;

export async function lookBefore(world: FaultWorld): Promise<Before> {
  return { objects: new Set(await world.leftovers()), resources: countResources() };
}

function countResources(): Map<string, number> {
  const counts = new Map<string, number>();
  for (const kind of process.getActiveResourcesInfo().filter((name) => KINDS.test(name))) {
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return counts;
}

/**
 * What is still there after mesh-ca was closed: connections, timers, objects on the server, and secrets in what it has said. Sockets take a
 * moment to go.
 */
export async function findLeaks(
  world: FaultWorld,
  before: Before,
  answers: readonly Asked[],
  log: readonly string[],
): Promise<readonly string[]> {
  const until = performance.now() + GONE_WITHIN_MS;
  let left = await leftNow(world, before);
  while (left.length > 0 && performance.now() < until) {
    await new Promise<void>((resolve) => setTimeout(resolve, LOOK_MS));
    left = await leftNow(world, before);
  }
  return [...left, ...toldSecrets(world, answers, log)];
}

async function leftNow(world: FaultWorld, before: Before): Promise<string[]> {
  const { open } = world.proxy.counters();
  const objects = (await world.leftovers()).filter((name) => !before.objects.has(name));
  // Looked at last, and without waiting: what this check itself does must not be counted.
  const more = [...countResources()].filter(([kind, count]) => count > (before.resources.get(kind) ?? 0));
  return [
    ...(open > 0 ? [`${open} connections to the backend`] : []),
    ...(objects.length > 0 ? [`${objects.length} objects on the server, one is ${objects[0]}`] : []),
    ...more.map(([kind, count]) => `${count - (before.resources.get(kind) ?? 0)} ${kind}`),
  ];
}

function toldSecrets(world: FaultWorld, answers: readonly Asked[], log: readonly string[]): string[] {
  const secrets = world.sensitive().filter((secret) => secret !== '');
  const holds = (text: string) => secrets.some((secret) => text.includes(secret));
  const inAnswers = answers.filter(({ answer }) => holds(answer.text)).length;
  const inLog = log.filter((line) => holds(line) || line.includes('PRIVATE KEY')).length;
  return [
    ...(inAnswers > 0 ? [`a secret in ${inAnswers} answers`] : []),
    ...(inLog > 0 ? [`a secret in ${inLog} lines of the log`] : []),
  ];
}
