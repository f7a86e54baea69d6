import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { Demo } from './demo.ts';
import { applyExamples } from './steps/apply-examples.ts';
import { callWithMutualTls } from './steps/call-with-mutual-tls.ts';
import { getCertificates } from './steps/get-certificates.ts';
import { makeProvidedCa } from './steps/make-provided-ca.ts';
import { showNext } from './steps/show-next.ts';
import { showCertificates, showInspect, showValidation } from './steps/show-results.ts';
import { startMeshCa } from './steps/start-mesh-ca.ts';
import { startVault } from './steps/start-vault.ts';
import { Closers } from './support/closers.ts';
import { runToEnd } from './support/run-to-end.ts';
import { createScreen } from './support/screen.ts';
import { listenForStop } from './support/stop-signals.ts';
import { makeTempFolder } from './support/temp-folder.ts';

/** `npm run demo`: three meshes on three kinds of CA, from an empty folder to mutual TLS. `-- --keep` stays up until Ctrl-C. */
async function runDemo(demo: Demo, keep: boolean): Promise<void> {
  demo.screen.step('three meshes, each on another kind of CA: builtin, vault, provided');
  const vault = await startVault(demo);
  const address = await startMeshCa(demo);
  const ca = await makeProvidedCa(demo);
  await applyExamples(demo, address, vault, ca);
  const meshes = await getCertificates(demo, address);
  await callWithMutualTls(demo, meshes);
  showCertificates(demo, meshes);
  await showInspect(demo, address, 'payments');
  await showValidation(demo, address, meshes);
  showNext(demo, address, keep);
  if (keep) await stopped(demo);
}

/** Ctrl-C is how a demo that was kept is meant to end. */
async function stopped({ screen, signal }: Demo): Promise<void> {
  screen.heading('Ctrl-C ends the demo and removes everything that it made.');
  // A timer, because waiting for a signal alone does not keep a process alive.
  while (!signal.aborted) await sleep(60_000, undefined, { signal }).catch(() => {});
}

const signal = listenForStop();
const screen = createScreen(process.stdout, process.stderr, process.env);
const closers = new Closers();
await runToEnd({ screen, closers, signal }, async () => {
  const { values } = parseArgs({ options: { keep: { type: 'boolean', default: false } } });
  const folder = await makeTempFolder(closers);
  await runDemo({ screen, closers, signal, folder }, values.keep);
});
