import { startTestApp, type TestApp } from '../support/test-app.ts';
import { type Asked, askForCertificate, failuresOf } from './ask.ts';
import { countConnects } from './count-connects.ts';
import { BACKEND, type Calls, type FaultWorld, MESH, putSecret, type ServerFault } from './fault-world.ts';
import { allowedIn, type FaultRow, REQUEST_TIMEOUT_MS, type Seen } from './faults.ts';
import { findLeaks, lookBefore } from './leaks.ts';

/** One line of the table. */
export interface FaultResult {
  readonly backend: string;
  readonly server: string;
  readonly fault: string;
  /** Certificates asked for while the fault lasted. */
  readonly asked: number;
  readonly served: number;
  /** What callers saw, each kind once, the commonest first. */
  readonly saw: readonly { readonly outcome: Seen; readonly message: string; readonly count: number }[];
  /** Most calls that asked for one and the same certificate, and all calls divided by the certificates asked for. */
  readonly issuingCallsPerCertificate: number;
  readonly callsPerCertificate: number;
  /** Calls in the time in which nobody asked and the fault went on. */
  readonly quietCalls: number;
  /** From the end of the fault to the first certificate for a request made after it. Undefined: none came. */
  readonly recoveryMs: number | undefined;
  readonly leaked: readonly string[];
  /** Everything that the table demands and that was not so. */
  readonly complaints: readonly string[];
}

const CALLERS = 4;
const PAUSE_MS = 120;
const QUIET_MS = 400;
const LONGEST_MS = REQUEST_TIMEOUT_MS + 600;
const RECOVERY_ASK_MS = 50;
const RECOVERY_GIVE_UP_MS = 6_000;

export const MOST_ISSUING_CALLS = 3;
export const RECOVERED_WITHIN_MS = 2_000;
/** Log-in, abilities and CA certificates: asked for once and remembered, however many certificates follow. */
const CALLS_FOR_ALL = 12;
const MOST_QUIET_CALLS = 10;

interface Measured {
  readonly calls: Calls;
  /** Connections that were tried. */
  readonly connects: number;
}

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** The whole story of one fault, through the front door of a whole mesh-ca: warm-up, fault, callers, quiet, end, recovery, close, leaks. */
export async function runFault(world: FaultWorld, row: FaultRow): Promise<FaultResult> {
  const complaints: string[] = [];
  const name = row.name.replace(/[^a-z0-9]+/gi, '-').toLowerCase();
  let count = 0;
  const nextDataplane = () => {
    count += 1;
    return `${name}-${count}`;
  };
  const atFirst = await lookBefore(world);
  const alarms = collectAlarms();
  const connects = countConnects(world.proxy.port);
  const fault = faultOf(world, row);
  const measure = async (): Promise<Measured> => ({ calls: await world.calls(), connects: connects.count });

  const atStart = await measure();
  if (row.atStart) await fault.beginAtStart();
  const test = await startTestApp();
  const ask = () => askForCertificate(test, nextDataplane());
  const everything: Asked[] = [];
  try {
    await putMeshes(test, world);
    if (!row.atStart) {
      const warm = await Promise.all([ask(), ask()]);
      everything.push(...warm);
      complaints.push(
        ...warm.filter(({ seen }) => seen !== 'served').map((one) => `before the fault: ${describe(one)}`),
      );
      await fault.begin({ test });
    }

    const before = row.atStart ? atStart : await measure();
    const underWay = new Set<Promise<unknown>>();
    const during: Asked[] = [];
    let isOver = false;
    let asked = 0;
    const begunMs = performance.now();
    // Until somebody has seen something, however long the backend is waited for.
    const goesOn = () => {
      const lastedMs = performance.now() - begunMs;
      return lastedMs < row.lastsMs || (during.length === 0 && lastedMs < LONGEST_MS);
    };
    const caller = async () => {
      while (goesOn()) {
        asked += 1;
        const one = await ask();
        everything.push(one);
        // An answer after the end of the fault says nothing about the fault.
        if (!isOver) during.push(one);
        await sleep(PAUSE_MS);
      }
    };
    for (let index = 0; index < CALLERS; index += 1) underWay.add(caller());
    while (goesOn()) await sleep(PAUSE_MS / 4);
    const other = await test.request('POST', '/meshes/other/dataplanes/neighbour/_certificate', {
      tags: { 'kuma.io/service': 'neighbour' },
    });
    if (other.status !== 201) complaints.push(`another mesh noticed it: ${other.status}`);
    const quietFrom = await measure();
    await sleep(QUIET_MS);
    const after = await measure();

    isOver = true;
    await fault.end({ test });
    const recovery = await measureRecovery(ask);
    everything.push(...recovery.answers);
    await Promise.all(underWay);

    const allowed = allowedIn(row, world.type);
    const wrong = during.filter(({ seen }) => !allowed.includes(seen));
    complaints.push(...unique(wrong.map((one) => `a caller saw ${describe(one)}`)));
    complaints.push(...unique(everything.flatMap((one) => failuresOf(one, row.says))));
    const most = Math.max(
      0,
      ...[...after.calls.byService].map(([service, calls]) => calls - (before.calls.byService.get(service) ?? 0)),
    );
    const issuingCallsPerCertificate = Math.max(
      most,
      asked === 0 ? 0 : (after.calls.issuing - before.calls.issuing) / asked,
    );
    const all = callsBetween(before, after);
    const quietCalls = callsBetween(quietFrom, after);
    if (issuingCallsPerCertificate > MOST_ISSUING_CALLS)
      complaints.push(`${issuingCallsPerCertificate} issuing calls for one certificate`);
    if (all > MOST_ISSUING_CALLS * asked + CALLS_FOR_ALL) complaints.push(`${all} calls for ${asked} certificates`);
    if (quietCalls > MOST_QUIET_CALLS + CALLERS) complaints.push(`${quietCalls} calls while nobody asked`);
    if (recovery.ms === undefined) complaints.push(`no recovery: ${recovery.last}`);
    else if (recovery.ms >= RECOVERED_WITHIN_MS) complaints.push(`recovery took ${Math.round(recovery.ms)} ms`);

    await test.close();
    const leaked = await findLeaks(world, atFirst, everything, test.log);
    complaints.push(...leaked.map((what) => `leaked: ${what}`));
    complaints.push(...unique(alarms.seen));
    return {
      ...{ backend: world.type, server: world.server, fault: row.name, asked },
      served: during.filter(({ seen }) => seen === 'served').length,
      saw: summarize(during),
      ...{ issuingCallsPerCertificate, callsPerCertificate: asked === 0 ? 0 : all / asked, quietCalls },
      ...{ recoveryMs: recovery.ms, leaked, complaints },
    };
  } finally {
    connects.stop();
    alarms.stop();
    await world.proxy.set({ kind: 'forward' });
    await test.close();
  }
}

/** Which of the worlds of a backend shows a fault: the first whose server can, else the first whose network can. */
export function findWorld(worlds: readonly FaultWorld[], { server, mode }: FaultRow): FaultWorld | undefined {
  const able = server && worlds.find(({ faults }) => faults[server] !== undefined);
  return able ?? (mode === undefined ? undefined : worlds[0]);
}

function faultOf(world: FaultWorld, { server, mode }: FaultRow): ServerFault & { beginAtStart(): Promise<void> } {
  const own = server && world.faults[server];
  const beginAtStart = async () => {
    if (own === undefined && mode !== undefined) await world.proxy.set(mode);
  };
  return {
    beginAtStart,
    begin: (stage) => own?.begin(stage) ?? beginAtStart(),
    async end(stage) {
      await own?.end(stage);
      await world.proxy.set({ kind: 'forward' });
    },
  };
}

/** A mesh with the backend under test, and one that must not notice anything. */
async function putMeshes(test: TestApp, world: FaultWorld): Promise<void> {
  await test.ok('PUT', `/meshes/${MESH}`, { type: 'Mesh', name: MESH });
  for (const [name, value] of world.secrets()) await putSecret(test, name, value);
  const requestTimeout = `${REQUEST_TIMEOUT_MS / 1000}s`;
  const backend = {
    ...{ name: BACKEND, type: world.type, conf: world.conf },
    dpCert: { rotation: { expiration: '24h' }, requestTimeout },
    rootChain: { requestTimeout },
  };
  await test.ok('PUT', `/meshes/${MESH}`, {
    ...{ type: 'Mesh', name: MESH },
    mtls: { enabledBackend: BACKEND, backends: [backend] },
  });
  const builtin = { name: 'own', type: 'builtin', conf: { caCert: { keyType: 'EC-P256' } } };
  await test.ok('PUT', '/meshes/other', {
    ...{ type: 'Mesh', name: 'other' },
    mtls: { enabledBackend: 'own', backends: [builtin] },
  });
}

/** Refused connections never reach the proxy: what was tried counts as a call, too. */
function callsBetween(before: Measured, after: Measured): number {
  return Math.max(after.calls.all - before.calls.all, after.connects - before.connects);
}

/** Asks every few milliseconds, whether or not the ones before are answered, as many data planes would. */
async function measureRecovery(
  ask: () => Promise<Asked>,
): Promise<{ readonly ms: number | undefined; readonly answers: readonly Asked[]; readonly last: string }> {
  const startedMs = performance.now();
  const answers: Asked[] = [];
  const pending: Promise<void>[] = [];
  let ms: number | undefined;
  while (ms === undefined && performance.now() - startedMs < RECOVERY_GIVE_UP_MS) {
    const asking = ask().then((one) => {
      answers.push(one);
      if (one.seen === 'served') ms ??= performance.now() - startedMs;
    });
    pending.push(asking);
    await Promise.race([asking, sleep(RECOVERY_ASK_MS)]);
    if (ms === undefined) await sleep(RECOVERY_ASK_MS);
  }
  await Promise.all(pending);
  const last = answers.at(-1);
  return { ms, answers, last: last === undefined ? '' : describe(last) };
}

/** What would have ended or worried a real process: nothing of it may be caused by a backend. */
function collectAlarms(): { readonly seen: readonly string[]; stop(): void } {
  const seen: string[] = [];
  const listeners = (['warning', 'uncaughtException', 'unhandledRejection'] as const).map((event) => {
    const listener = (what: unknown) =>
      void seen.push(`${event}: ${what instanceof Error ? what.message : 'no error'}`);
    process.on(event, listener);
    return () => process.removeListener(event, listener);
  });
  return {
    seen,
    stop() {
      for (const remove of listeners) remove();
    },
  };
}

function summarize(answers: readonly Asked[]): FaultResult['saw'] {
  const kinds = new Map<string, { outcome: Seen; message: string; count: number }>();
  for (const { seen, message } of answers) {
    const key = `${seen} ${message}`;
    const kind = kinds.get(key) ?? { outcome: seen, message, count: 0 };
    kind.count += 1;
    kinds.set(key, kind);
  }
  return [...kinds.values()].sort((a, b) => b.count - a.count);
}

const describe = ({ seen, message }: Asked) => (message === '' ? seen : `${seen}: ${message}`);
const unique = (texts: readonly string[]) => [...new Set(texts)];
