import { startTestApp, type TestApp } from '../support/test-app.ts';
import { collectAlarms } from './alarms.ts';
import { type Asked, askForCertificate, describeAsked, isTrusted } from './ask.ts';
import { keepAsking, measureRecovery, sleep } from './callers.ts';
import { countConnects } from './count-connects.ts';
import { BACKEND, type FaultWorld, MESH, putSecret, type ServerFault } from './fault-world.ts';
import { type FaultRow, REQUEST_TIMEOUT_MS, type Seen } from './faults.ts';
import { complaintsOf, type Measured, numbersOf, type Observed } from './judge.ts';
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
  /** Most calls that asked for one and the same certificate. */
  readonly issuingCallsPerCertificate: number;
  /** All calls, divided by the certificates asked for. */
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
/** What is judged is the adapter; a breaker would keep the fault from it. */
const NEVER = '99999';
const QUIET_MS = 300;
/** Until somebody has seen something, however long the backend is waited for. */
const LONGEST_MS = REQUEST_TIMEOUT_MS + 600;

/** The whole story of one fault, through the front door of a whole mesh-ca: warm-up, fault, callers, quiet, end, recovery, close, leaks. */
export async function runFault(world: FaultWorld, row: FaultRow): Promise<FaultResult> {
  const atFirst = await lookBefore(world);
  const alarms = collectAlarms();
  const connects = countConnects(world.proxy.port);
  const fault = faultOf(world, row);
  const measure = async (): Promise<Measured> => ({ calls: await world.calls(), connects: connects.count });
  const before = await measure();
  if (row.atStart) await fault.beginAtStart();
  let test: TestApp | undefined;
  try {
    test = await startTestApp({ breakerDataplanes: NEVER });
    await putMeshes(test, world);
    const { observed, complaints } = await observe(test, row, fault, before, measure);
    await test.close();
    const leaked = await findLeaks(world, atFirst, observed.everything, test.log);
    const numbers = numbersOf(observed);
    const { asked, during, recovery } = observed;
    return {
      ...{ backend: world.type, server: world.server, fault: row.name, asked },
      served: during.filter(({ seen }) => seen === 'served').length,
      saw: summarize(during),
      issuingCallsPerCertificate: numbers.issuingCallsPerCertificate,
      callsPerCertificate: asked === 0 ? 0 : numbers.calls / asked,
      ...{ quietCalls: numbers.quietCalls, recoveryMs: recovery.ms, leaked },
      complaints: [
        ...complaints,
        ...complaintsOf(row, world.type, observed, numbers),
        ...leaked.map((what) => `leaked: ${what}`),
        ...new Set(alarms.seen),
      ],
    };
  } finally {
    connects.stop();
    alarms.stop();
    await world.proxy.set({ kind: 'forward' });
    await test?.close();
  }
}

/** @param atStart what was measured before mesh-ca was started */
async function observe(
  test: TestApp,
  row: FaultRow,
  fault: Fault,
  atStart: Measured,
  measure: () => Promise<Measured>,
): Promise<{ readonly observed: Observed; readonly complaints: readonly string[] }> {
  const complaints: string[] = [];
  const name = row.name.replace(/[^a-z0-9]+/gi, '-').toLowerCase();
  let count = 0;
  const ask = () => {
    count += 1;
    return askForCertificate(test, `${name}-${count}`);
  };
  const warm: readonly Asked[] = row.atStart ? [] : await Promise.all([ask(), ask()]);
  for (const one of warm.filter(({ seen }) => seen !== 'served')) complaints.push(`at first: ${describeAsked(one)}`);
  const before = row.atStart ? atStart : await measure();
  if (!row.atStart) await fault.begin({ test });

  const callers = await keepAsking(
    row.idle ? 0 : CALLERS,
    ask,
    (lastedMs, answered) => lastedMs < row.lastsMs || (!row.idle && answered === 0 && lastedMs < LONGEST_MS),
  );
  complaints.push(...(await askOthers(test, row)));
  const quietFrom = await measure();
  await sleep(QUIET_MS);
  const quietTo = await measure();
  // An answer after the end of the fault says nothing about the fault.
  const during = [...callers.answers];

  await fault.end({ test });
  const recovery = await measureRecovery(ask, row.idle === true);
  await callers.done;
  const everything = [...warm, ...callers.answers, ...recovery.answers];
  complaints.push(...(await askWhetherTrusted(test, everything)));
  const observed = { asked: callers.asked, during, everything, before, quietFrom, quietTo, recovery };
  return { observed: { ...observed, atEnd: await measure() }, complaints };
}

/** A failing backend takes nothing else down: neither another mesh, nor the bundle that is known. */
async function askOthers(test: TestApp, { atStart }: FaultRow): Promise<string[]> {
  const tags = { 'kuma.io/service': 'neighbour' };
  const other = await test.request('POST', '/meshes/other/dataplanes/neighbour/_certificate', { tags });
  const bundle = await test.request('GET', `/meshes/${MESH}/_trust-bundle`);
  return [
    ...(other.status === 201 ? [] : [`another mesh noticed it: ${other.status}`]),
    ...(atStart || bundle.text.includes('BEGIN CERTIFICATE') ? [] : [`the trust bundle was gone: ${bundle.status}`]),
  ];
}

/** Whatever became of the CA meanwhile: who holds a certificate from before must not be cut off. */
async function askWhetherTrusted(test: TestApp, everything: readonly Asked[]): Promise<string[]> {
  const served = everything.filter(({ seen }) => seen === 'served');
  if (served.length === 0) return [];
  const { text } = await test.request('GET', `/meshes/${MESH}/_trust-bundle`);
  const lost = served.filter(({ answer }) => !isTrusted(answer, text)).length;
  return lost === 0 ? [] : [`${lost} certificates that were served are trusted no more`];
}

/** Which of the worlds of a backend shows a fault: the first whose server can, else the first whose network can. */
export function findWorld(worlds: readonly FaultWorld[], { server, mode }: FaultRow): FaultWorld | undefined {
  const able = server && worlds.find(({ faults }) => faults[server] !== undefined);
  return able ?? (mode === undefined ? undefined : worlds[0]);
}

interface Fault extends ServerFault {
  /** Before there is a mesh-ca. */
  beginAtStart(): Promise<void>;
}

function faultOf(world: FaultWorld, { server, mode }: FaultRow): Fault {
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
    mtls: { enabledBackend: BACKEND, backends: [backend], skipValidation: true },
  });
  const builtin = { name: 'own', type: 'builtin', conf: { caCert: { keyType: 'EC-P256' } } };
  await test.ok('PUT', '/meshes/other', {
    ...{ type: 'Mesh', name: 'other' },
    mtls: { enabledBackend: 'own', backends: [builtin] },
  });
}

function summarize(answers: readonly Asked[]): FaultResult['saw'] {
  const kinds = new Map<string, { outcome: Seen; message: string; count: number }>();
  for (const one of answers) {
    const key = describeAsked(one);
    const kind = kinds.get(key) ?? { outcome: one.seen, message: one.message, count: 0 };
    kind.count += 1;
    kinds.set(key, kind);
  }
  return [...kinds.values()].sort((a, b) => b.count - a.count);
}
