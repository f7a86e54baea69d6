import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ServeProcess, startServe } from '../../support/serve-process.ts';
import { makeTempDir, type TempDir } from '../../support/temp-dir.ts';
import type { Answer } from '../../support/test-app.ts';
import { ask, askAgainAndAgain, BACKEND, forAll, makeCsr, namesOf, ok, sleep, until, useVault } from './ask-service.ts';
import { seriesValue, unlabelled } from './metrics-text.ts';
import { startWatchedVault, type WatchedVault } from './watched-vault.ts';

const PROGRAM = fileURLToPath(new URL('../../../bin/mesh-ca', import.meta.url));
const FLAGS = ['--backoff-base', '500ms', '--backoff-max', '3s', '--canary-interval', '0s'];
/** At least so long is the longest wait of a breaker: what chance may take off is a quarter. */
const LONGEST_WAIT_MS = 3_000 * 0.75;
const OUTAGE_MS = 4_000;
/** Each data plane more than twice, however slow this machine is. */
const LEAST_ASKED = 800;
/** What a start costs in any case: the roots of the mount are looked at once, and why that fails. */
const LOOKS = /\/issuers\?list=true$|^\/v1\/sys\/health/;

const due = namesOf('due', 300);
const fresh = namesOf('fresh', 50);

let vault: WatchedVault;
let otherVault: WatchedVault;
let dir: TempDir;
let service: ServeProcess;
let csr: string;
beforeAll(async () => {
  [vault, otherVault, dir, csr] = await Promise.all([
    startWatchedVault(),
    startWatchedVault(),
    makeTempDir(),
    makeCsr(),
  ]);
  service = await startServe([...FLAGS, '--data-dir', dir.path]);
  const store = await useVault(service, vault, 'west');
  await (await useVault(service, vault, 'east'))('48h');
  await (await useVault(service, otherVault, 'north'))('48h');
  await store('48h');
  await forAll(due, async (name) => expect((await ask(service, 'west', name, { csr })).status).toBe(201));
  await ask(service, 'east', 'warm', { csr });
  await ask(service, 'north', 'warm', { csr });
  expect(await issueByHand('web')).toMatchObject({ code: 0 });
  // From now on all of them are due.
  await store('47h');
  await ask(service, 'west', 'warm', { csr });
  await vault.bao.seal();
  sealedMs = performance.now();
});
afterAll(async () => {
  await service?.end('SIGKILL');
  await Promise.all([vault?.close(), otherVault?.close(), dir?.remove()]);
});

let sealedMs: number;

describe('a Vault is sealed, and 350 data planes ask again and again', () => {
  const last = new Map<string, Answer>();
  let north = 0;
  let mostHeld = 0;

  it('hears of it by a few dozen calls', async () => {
    const endsMs = performance.now() + OUTAGE_MS;
    let count = 0;
    const goesOn = () => performance.now() < endsMs || count < LEAST_ASKED;
    const askWest = async (name: string) => {
      count += 1;
      last.set(name, await ask(service, 'west', name, { csr }));
    };
    const askNorth = async () => {
      const { status } = await ask(service, 'north', `north-${north++}`, { csr });
      expect(status).toBe(201);
    };
    const watchMetrics = async () => {
      const { text } = await ok(service, 'GET', '/metrics');
      mostHeld = Math.max(mostHeld, seriesValue(text, 'mesh_ca_backend_held_dataplanes', 'west'));
      await sleep(50);
    };
    const [asked] = await Promise.all([
      askAgainAndAgain([...due, ...fresh], askWest, goesOn),
      askAgainAndAgain(['north'], askNorth, goesOn, 1),
      askAgainAndAgain(['metrics'], watchMetrics, goesOn, 1),
    ]);
    const heard = vault.calls.filter(({ atMs }) => atMs >= sealedMs);
    tell({ asked, heard: heard.length, issuing: vault.issuing(sealedMs).length, north, mostHeld });
    expect(asked).toBeGreaterThanOrEqual(LEAST_ASKED);
    // Those that were let go before the tenth failure was heard, and the trials.
    expect(vault.issuing(sealedMs).length).toBeLessThanOrEqual(40);
    expect(heard.length).toBeLessThanOrEqual(60);
  });

  it('gives those that hold a certificate that one, with the time left, when to ask again, the breaker and the cause', () => {
    for (const name of due) {
      const { status, json } = last.get(name) ?? {};
      expect([status, json?.outcome, json?.backend]).toEqual([200, 'stale', BACKEND]);
      expect(Number(json?.validForSeconds)).toBeGreaterThan(47 * 3600);
      expect(Number(json?.validForSeconds)).toBeLessThan(48 * 3600);
      expect([1, 2, 3]).toContain(Number(json?.retryAfterSeconds));
      expect(['open', 'half-open']).toContain(String(json?.breaker));
      expect(json?.cause?.code).toBe('ERR_ISSUER_UNAVAILABLE');
      expect(String(json?.cause?.detail)).toMatch(/^issuer\(vault vault-1\): .*sealed/);
    }
  });

  it('tells the others its failure, and when they are tried', () => {
    let held = 0;
    for (const name of fresh) {
      const { status, json, headers } = last.get(name) ?? {};
      expect([status, json?.code, json?.retry]).toEqual([503, 'ERR_ISSUER_UNAVAILABLE', true]);
      expect(headers?.get('retry-after')).toBe(String(json?.retryAfterSeconds));
      expect([1, 2, 3]).toContain(Number(json?.retryAfterSeconds));
      expect(['open', 'half-open']).toContain(String(json?.breaker));
      // One of them may have been the one that tried.
      if (json?.cause !== undefined) {
        held += 1;
        expect(json.cause.code).toBe('ERR_ISSUER_UNAVAILABLE');
        expect(String(json.detail)).toMatch(/not asked .*breaker /);
      }
      expect(String(json?.detail)).toMatch(/is sealed/);
      expect(String(json?.fix)).toContain('unseal');
    }
    expect(held).toBeGreaterThan(fresh.length / 2);
  });

  it('lets a mesh on another Vault notice nothing', () => {
    expect(north).toBeGreaterThan(2);
    expect(otherVault.issuing().length).toBe(north + 1);
  });

  it('is down for a mesh on another mount of the same Vault, too', async () => {
    const { status, json } = await ask(service, 'east', 'other', { csr });
    expect([status, json.code]).toEqual([503, 'ERR_ISSUER_UNAVAILABLE']);
  });

  it('is what a user reads about, who asks by hand', async () => {
    const stale = await issueByHand('web');
    expect(stale.code).toBe(0);
    expect(stale.text).toMatch(/^warning: the backend vault-1 fails; .* good until .* \(1 d 23 h from now\)$/m);
    expect(stale.text).toMatch(/^ +why: breaker: open, .*\n +cause: ERR_ISSUER_UNAVAILABLE, .* is sealed/m);
    expect(stale.text).toMatch(/^ +fix: run the same command again in [123] s; .*mesh-ca validate west/m);
    expect(stale.text).toContain('stale, backend vault-1 (vault)');
    const refused = await issueByHand('api');
    expect(refused.code).toBe(4);
    expect(refused.text).toMatch(/^error: Backend not available\n +why: .* is sealed/);
    expect(refused.text).toMatch(/^ +asked again in [123] s$/m);
    expect(refused.text).toMatch(/^ +fix: vault operator unseal$/m);
  });

  it('shows in the metrics: breaker, held data planes, waits, requests for each certificate', async () => {
    const { text } = await ok(service, 'GET', '/metrics');
    expect(seriesValue(text, 'mesh_ca_backend_breaker_state', 'west')).toBeGreaterThan(0);
    expect(seriesValue(text, 'mesh_ca_backend_breaker_state', 'north')).toBe(0);
    expect(mostHeld).toBeGreaterThanOrEqual(10);
    expect(seriesValue(text, 'mesh_ca_backend_queue_wait_seconds_count', 'west')).toBeGreaterThan(300);
    const perCertificate = 'mesh_ca_backend_requests_per_certificate';
    expect(seriesValue(text, `${perCertificate}_count`, 'west')).toBeGreaterThan(300);
    expect(seriesValue(text, `${perCertificate}_bucket`, 'west', '3')).toBe(
      seriesValue(text, `${perCertificate}_count`, 'west'),
    );
    expect(unlabelled(text)).toEqual([]);
  });

  it('is not asked for a certificate before its time when mesh-ca is killed and starts again', async () => {
    // Right after a trial, so that the whole wait is ahead.
    const before = vault.issuing().length;
    let hasTried = false;
    const askWest = (name: string) => ask(service, 'west', name, { csr });
    const asking = askAgainAndAgain(due, askWest, () => !hasTried, 4);
    await until('a trial', () => vault.issuing().length > before);
    await until('its end', async () => String((await askWest('fresh-0')).json.breaker) === 'open');
    hasTried = true;
    await asking;
    const triedMs = vault.issuing().at(-1)?.atMs ?? 0;
    expect(await service.end('SIGKILL')).toEqual({ code: null, signal: 'SIGKILL' });

    service = await startServe([...FLAGS, '--data-dir', dir.path]);
    const restartedMs = performance.now();
    const first = await askWest('due-0');
    expect(first.json.outcome).toBe('stale');
    expect(['open', 'half-open']).toContain(String(first.json.breaker));
    const trials = () => vault.calls.filter(({ atMs, path }) => atMs >= restartedMs && !LOOKS.test(path));
    await askAgainAndAgain(
      [...due, ...fresh],
      askWest,
      () => trials().length === 0 && performance.now() < triedMs + 5_000,
    );
    const firstTrialMs = trials()[0]?.atMs ?? Number.NaN;
    tell({ restarted: restartedMs - triedMs, nextTrial: firstTrialMs - triedMs });
    expect(firstTrialMs - triedMs).toBeGreaterThanOrEqual(LONGEST_WAIT_MS);
  });
});

interface Ended {
  readonly code: number;
  readonly text: string;
}

/** `mesh-ca issue`, with the warnings and errors it writes. */
function issueByHand(name: string, ...flags: string[]): Promise<Ended> {
  const where = ['--address', service.address, '--mesh', 'west', '--out', join(dir.path, 'files')];
  const args = [PROGRAM, 'issue', name, '--tag', `kuma.io/service=${name}`, ...where, ...flags];
  return new Promise((resolve) => {
    execFile(process.execPath, args, (error, stdout, stderr) =>
      resolve({ code: Number(error?.code ?? 0), text: stderr + stdout }),
    );
  });
}

const tell = (numbers: object) => process.stdout.write(`${JSON.stringify(numbers)}\n`);
