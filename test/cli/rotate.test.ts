import { stripVTControlCharacters } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { RotationView } from '../../src/cli/rotation-view.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { type Canned, type FakeApi, startFakeApi } from './fake-api.ts';
import {
  at,
  blocker,
  DONE,
  DRAINING,
  IDLE,
  PAUSED,
  ROLLED_BACK,
  ROLLING_BACK,
  rotation,
  STOPPED,
  SWITCHING,
  TRUSTING,
} from './rotation-views.ts';
import { type Ran, run } from './run.ts';

const PATH = '/meshes/default/_rotation';

let api: FakeApi;
let nowMs: number;
/** Called before each wait of the watching. */
let onWait: () => void;
let stop: () => void;
const exits: number[] = [];

beforeEach(async () => {
  api = await startFakeApi();
  nowMs = Date.parse(at(60));
  onWait = () => {};
  stop = () => {};
  exits.length = 0;
});
afterEach(() => api.close());

/** The waits between two looks are skipped, and so much time has passed. */
const clock = {
  ...systemClock,
  now: () => new Date(nowMs),
  monotonicMs: () => nowMs,
  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (ms !== 1000) return systemClock.sleep(ms, signal);
    nowMs += ms;
    onWait();
    signal?.throwIfAborted();
  },
};

interface Options {
  readonly tty?: boolean;
  readonly env?: Readonly<Record<string, string>>;
}

const rotate = (line: string, { tty = false, env = {} }: Options = {}): Promise<Ran> =>
  run(['rotate', ...line.split(' ').filter(Boolean)], {
    tty,
    env: { MESH_CA_ADDRESS: api.address, LANG: 'C.UTF-8', ...env },
    io: {
      clock,
      onStopSignal(listener) {
        stop = listener;
      },
      exit: (code) => void exits.push(code),
    },
  });

const found = (view: RotationView): Canned => ({ status: 200, json: view });
const taken = (view: RotationView): Canned => ({ status: 202, json: view });
/** What each look finds; the last one stays. */
function show(...views: readonly (RotationView | Canned)[]): void {
  let looks = 0;
  api.canned.set(`GET ${PATH}`, () => {
    const view = views[Math.min(looks, views.length - 1)] ?? 'hang';
    looks += 1;
    return typeof view === 'object' && 'mesh' in view ? found(view) : view;
  });
}
const put = (view: RotationView) => api.canned.set(`PUT ${PATH}`, taken(view));
const sent = () => api.received.filter(({ method }) => method !== 'GET').map(({ method, body }) => ({ method, body }));
const lines = (...all: string[]) => all.map((line) => `${line}\n`).join('');

describe('rotate without an option', () => {
  it('shows how far the rotation is, who is waited for, and what to type next', async () => {
    show(SWITCHING);
    expect(await rotate('')).toEqual({
      code: 0,
      stderr: '',
      stdout: lines(
        'MESH           default',
        'STATE          switching for 48 s',
        'BACKENDS       ca-1 -> vault-1',
        'STARTED        2026-01-02 03:00:00',
        'OPTIONS        at most 50 certificates a second',
        'DATA PLANES    118 of 120 are online',
        'TRUST NEW CA   118 of 118',
        'USE NEW CA      64 of 118',
        'USE OLD CA      54 of 118',
        'PROGRESS       64 of 118 use a certificate of the new CA, about 40 s left',
        'waiting for 54 data planes; the first 7:',
        '  DATA PLANE   WAITING FOR              SINCE',
        ...[1, 2, 3, 4, 5, 6, 7].map((n) => `  web-${n}        trust bundle 7 (has 6)   57 s`),
        'next: mesh-ca rotate default --watch, --pause or --rollback',
      ),
    });
  });

  it('tells the zone of those waited for where one is known', async () => {
    show(DRAINING);
    expect((await rotate('')).stdout).toContain(
      lines(
        'PROGRESS       118 of 120 hold no certificate of the old CA',
        'waiting for 2 data planes; one of them:',
        '  DATA PLANE   ZONE   WAITING FOR                                             SINCE',
        '  old-1        east   its certificate of backend "ca-1" to expire (offline)   57 s',
      ),
    );
  });

  it.each<[string, RotationView, string]>([
    [
      'the end of certificates of data planes that are offline',
      DRAINING,
      '; --keep-old ends it now and leaves ca-1 in the mesh, --immediate does not wait for who is offline',
    ],
    [
      'a backend that could not prove itself',
      { ...TRUSTING, blockers: [blocker('', 'a proof of backend "vault-1": vault.address-reachable failed: refused')] },
      '; mesh-ca validate default --backend vault-1 tells what is wrong with it',
    ],
    ['a backend that is being proven', { ...TRUSTING, blockers: [blocker('', 'a proof of backend "vault-1"')] }, ''],
  ])('tells how to go on when it waits for %s', async (_, view, more) => {
    show(view);
    expect((await rotate('')).stdout).toMatch(new RegExp(`\nnext: .* --rollback${more}\n$`));
  });

  it('counts one certificate a second as one', async () => {
    show({ ...SWITCHING, options: { keepOld: false, maxPerSecond: 1, immediate: false } });
    expect((await rotate('')).stdout).toContain('OPTIONS        at most 1 certificate a second\n');
  });

  const edit = 'mesh-ca get mesh default -o yaml > mesh.yaml, edit it, mesh-ca apply -f mesh.yaml';
  it.each<[string, object, string, string]>([
    ['mTLS that is off', {}, 'enable a backend: mTLS is off', `set mtls.enabledBackend: ${edit}`],
    [
      'nothing to rotate to',
      { enabledBackend: 'ca-1' },
      'add a backend to rotate to',
      `add a backend (${edit}), then mesh-ca rotate default --to BACKEND`,
    ],
    [
      'a backend that may issue',
      { from: 'ca-1', to: 'ca-2', canSwitch: true },
      'ca-2 may become the enabled backend',
      `mesh-ca rotate default --to ca-2, or set enabledBackend to it: ${edit}`,
    ],
    [
      'a backend that may go',
      { from: 'ca-1', to: 'ca-2', canRemoveOld: true },
      'ca-1 may be removed',
      `take ca-1 out of the mesh: ${edit}`,
    ],
    [
      'somebody who does not trust the next one',
      { from: 'ca-1', to: 'ca-2', enabledBackend: 'ca-1' },
      'ca-2 may become the enabled backend once nobody is waited for',
      'mesh-ca rotate default --to ca-2, which waits for them; or mesh-ca rotate default, until nobody is waited for',
    ],
    [
      'somebody who needs the last one',
      { from: 'ca-1', to: 'ca-2', enabledBackend: 'ca-2' },
      'ca-1 may be removed once nobody is waited for',
      'mesh-ca rotate default, until nobody is waited for',
    ],
  ])('says what may be done to the Mesh step by step: %s', async (_name, more, step, next) => {
    show({ ...IDLE, ...more });
    const { stdout } = await rotate('');
    expect(stdout).toMatch(/^MESH .*default\nSTATE .*idle: no rotation is under way\n/);
    expect(stdout).toMatch(new RegExp(`\nNEXT STEP +${step}\n`));
    expect(stdout.endsWith(`\nnext: ${next}\n`)).toBe(true);
  });

  it.each<[string, RotationView, string, string]>([
    ['done', DONE, 'done 0 s ago', 'mesh-ca inspect dataplanes -m default'],
    ['rolled back', ROLLED_BACK, 'done: rolled back 20 s ago', 'mesh-ca inspect dataplanes -m default'],
    ['rolling back', ROLLING_BACK, 'rolling back \\(switching\\) for 40 s', 'mesh-ca rotate default --watch'],
    [
      'paused',
      PAUSED,
      'paused while switching for 40 s',
      'mesh-ca rotate default --resume, or mesh-ca rotate default --rollback',
    ],
  ])('tells state and next command of one that is %s', async (_name, view, state, next) => {
    show(view);
    const { code, stdout } = await rotate('');
    expect(code).toBe(0);
    expect(stdout).toMatch(new RegExp(`STATE          ${state}\n`));
    expect(stdout).toMatch(new RegExp(`\nnext: ${next}\n$`));
  });

  it('prints all that the server tells as JSON or YAML', async () => {
    const withMore = { ...SWITCHING, later: { known: true } };
    show(withMore);
    expect(JSON.parse((await rotate('-o json')).stdout)).toEqual(withMore);
    expect(parse((await rotate('-o yaml')).stdout)).toEqual(withMore);
  });

  it('takes the mesh as a name or by -m, and says when there is no such mesh', async () => {
    api.canned.set('GET /meshes/demo/_rotation', found({ ...DONE, mesh: 'demo' }));
    for (const line of ['demo', '-m demo', 'demo -m demo']) expect((await rotate(line)).stdout).toContain('demo');
    expect(await rotate('demo -m other')).toMatchObject({ code: 2 });
    expect(await rotate('none')).toEqual({
      code: 3,
      stdout: '',
      stderr: lines('error: there is no Mesh with name "none"', '  fix: see what there is: mesh-ca get meshes'),
    });
  });

  it('obeys nothing that stands in an answer', async () => {
    const evil = '\u001b[2J\u202eweb';
    show(rotation('trusting', { problem: evil, blockers: [{ dataplane: evil, zone: evil, waitingFor: evil }] }));
    const { stdout } = await rotate('');
    expect(stdout).toMatch(/\n {2}web {10}web {4}web {11}-\n/);
    expect(stdout).toMatch(/^[\n -~]*$/);
  });
});

describe('rotate --to', () => {
  it('starts it, tells each change in a line, and ends when it is done', async () => {
    put(TRUSTING);
    show(TRUSTING, SWITCHING, SWITCHING, DRAINING, DONE);
    expect(await rotate('--to vault-1')).toEqual({
      code: 0,
      stderr: lines(
        '         0 s  trusting: 117 of 118 trust the new CA; waiting for web-1: trust bundle 7 (has 6)',
        '         2 s  switching: 64 of 118 use a certificate of the new CA, about 40 s left; waiting for web-1: trust bundle 7 (has 6), and 53 more',
        '         4 s  draining: 118 of 120 hold no certificate of the old CA; waiting for old-1: its certificate of backend "ca-1" to expire (offline), and 1 more',
        '         5 s  done',
      ),
      stdout: lines(
        '✓ mesh default uses vault-1; ca-1 is removed',
        '120 data planes, 1 min 40 s (trusting 12 s, switching 48 s, draining 30 s, removing 10 s)',
        'next: mesh-ca inspect dataplanes -m default',
      ),
    });
    expect(sent()).toEqual([{ method: 'PUT', body: { to: 'vault-1' } }]);
  });

  it('tells numbers that change at most every 5 s, and says each minute that it still waits', async () => {
    let looks = 0;
    put(TRUSTING);
    api.canned.set(`GET ${PATH}`, () => {
      looks += 1;
      const trustingNew = Math.min(looks, 13);
      return found(looks > 140 ? DONE : { ...TRUSTING, dataplanes: { ...TRUSTING.dataplanes, trustingNew } });
    });
    const { stderr } = await rotate('--to vault-1');
    expect(stderr.split('\n').map((line) => line.split(' of ')[0]?.trim())).toEqual([
      '0 s  trusting: 117',
      '5 s  trusting: 5',
      '10 s  trusting: 10',
      '15 s  trusting: 13',
      '1 min 15 s  trusting: 13',
      '2 min 15 s  trusting: 13',
      '2 min 21 s  done',
      '',
    ]);
  });

  it.each([
    ['--to vault-1 --keep-old --max-per-second 5', { to: 'vault-1', keepOld: true, maxPerSecond: 5 }],
    ['--to vault-1 --immediate', { to: 'vault-1', immediate: true }],
    ['--to vault-1 --no-wait', { to: 'vault-1' }],
  ])('sends what was typed and nothing else: %s', async (line, body) => {
    put(DONE);
    expect((await rotate(line)).code).toBe(0);
    expect(sent()).toEqual([{ method: 'PUT', body }]);
  });

  it('says what --immediate means', async () => {
    put(DONE);
    const { stderr } = await rotate('--to vault-1 --immediate');
    expect(stderr).toContain('data planes that are offline are not waited for');
    expect(stderr).toContain('data planes that are online are still waited for');
  });

  it('does not watch with --no-wait', async () => {
    put(TRUSTING);
    const { code, stdout, stderr } = await rotate('--to vault-1 --no-wait');
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/^MESH .*\nSTATE .*trusting/);
    expect(api.received).toHaveLength(1);
  });

  it.each<[string, RotationView, string]>([
    [
      'a backend that was kept',
      rotation('done', { options: { keepOld: true }, steps: [] }),
      'mesh default uses vault-1; ca-1 was kept',
    ],
    [
      'a new generation',
      rotation('done', { kind: 'generation', from: 'ca-1', to: 'ca-1' }),
      'mesh default uses the new root of ca-1',
    ],
  ])('tells the end of %s', async (_name, view, text) => {
    put(view);
    expect((await rotate('--to vault-1')).stdout).toContain(text);
  });

  it('prints the end as JSON, and how it goes on beside it', async () => {
    put(TRUSTING);
    show(SWITCHING, DONE);
    const { stdout, stderr } = await rotate('--to vault-1 -o json');
    expect(JSON.parse(stdout)).toEqual(DONE);
    expect(stderr).toContain('switching: 64 of 118');
  });

  it('tells why mesh-ca refuses', async () => {
    const detail = 'backend "vault-9" is not in mesh "default"';
    const fix = 'name one of "ca-1", "vault-1"';
    const json = { title: 'Bad Request', detail, code: 'ERR_REQUEST_INVALID', fix };
    api.canned.set(`PUT ${PATH}`, { status: 400, json });
    expect(await rotate('--to vault-9')).toEqual({
      code: 3,
      stdout: '',
      stderr: lines('error: could not rotate mesh default to vault-9', `  why: ${detail}`, `  fix: ${fix}`),
    });
  });
});

describe('watching a rotation', () => {
  it.each<[string, string, RotationView, number, string]>([
    ['was rolled back by somebody', '--to vault-1', ROLLED_BACK, 4, 'the rotation of mesh default was rolled back'],
    ['was rolled back as asked', '--rollback', ROLLED_BACK, 0, ''],
    ['was done before it could be rolled back', '--rollback', DONE, 4, 'is done and was not rolled back'],
    ['is paused', '--to vault-1', PAUSED, 4, 'the rotation of mesh default is paused'],
    ['has paused by itself', '--to vault-1', STOPPED, 5, 'the rotation of mesh default has paused by itself'],
    ['is gone', '--to vault-1', IDLE, 4, 'the rotation of mesh default is there no more'],
  ])('ends when it %s', async (_name, line, view, code, error) => {
    put(TRUSTING);
    api.canned.set(`DELETE ${PATH}`, taken(ROLLING_BACK));
    show(view);
    const ran = await rotate(line);
    expect(ran.code).toBe(code);
    expect(ran.stderr).toContain(error);
    expect(ran.stderr.includes('error:')).toBe(code !== 0);
  });

  it('shows who was waited for when it paused by itself', async () => {
    put(STOPPED);
    expect((await rotate('--to vault-1')).stderr).toMatch(
      lines(
        'error: the rotation of mesh default has paused by itself',
        '  why: the mesh was changed meanwhile',
        '  waiting for 2 data planes:',
        '    DATA PLANE   WAITING FOR              SINCE',
        '    web-1        trust bundle 7 (has 6)   57 s',
        '    web-2        trust bundle 7 (has 6)   57 s',
        '  fix: mesh-ca rotate default --resume, or mesh-ca rotate default --rollback',
      ),
    );
  });

  it('goes on when mesh-ca is restarted', async () => {
    put(TRUSTING);
    const unwell: Canned = { status: 503, json: { title: 'Store not available', code: 'ERR_STORE_UNAVAILABLE' } };
    show(TRUSTING, 'drop', 'drop', unwell, SWITCHING, DONE);
    const { code, stderr } = await rotate('--to vault-1');
    expect(code).toBe(0);
    expect(stderr).toContain('mesh-ca does not answer (the connection was closed before an answer came)');
    expect(stderr).toMatch(/ 5 s {2}switching/);
  });

  it('ends when mesh-ca has not answered for 2 minutes', async () => {
    put(TRUSTING);
    show(TRUSTING, 'drop');
    const { code, stderr } = await rotate('--to vault-1');
    expect(code).toBe(4);
    expect(stderr).toMatch(
      lines(
        'error: mesh-ca has not answered for 2 min; the rotation goes on when it is back',
        '  why: the connection was closed before an answer came',
        '  fix: when mesh-ca runs again: mesh-ca rotate default --watch',
      ),
    );
    expect(nowMs - Date.parse(at(60))).toBeLessThan(125_000);
  });

  it.each<[string, Canned, number]>([
    ['the mesh is gone', { status: 404, json: { title: 'Not Found', code: 'ERR_NOT_FOUND' } }, 3],
    ['the caller is not let in any more', { status: 401, json: { title: 'No', code: 'ERR_UNAUTHENTICATED' } }, 3],
    ['something breaks', { status: 500, json: { title: 'Broken', code: 'ERR_INTERNAL' } }, 1],
  ])('ends at once when %s', async (_name, answer, code) => {
    put(TRUSTING);
    show(answer);
    expect((await rotate('--to vault-1')).code).toBe(code);
    expect(api.received).toHaveLength(2);
  });

  it('is stopped by Ctrl-C, which does not stop the rotation, and says how to go on', async () => {
    put(TRUSTING);
    show(SWITCHING);
    let waits = 0;
    onWait = () => {
      waits += 1;
      if (waits === 3) stop();
    };
    const { code, stdout, stderr } = await rotate('--to vault-1');
    expect([code, stdout, exits]).toEqual([4, '', []]);
    expect(stderr).toMatch(
      lines(
        'no longer watched; the rotation of mesh default goes on',
        '  to watch it again: mesh-ca rotate default --watch',
        '  to roll it back: mesh-ca rotate default --rollback',
      ),
    );
    expect(sent()).toHaveLength(1);
  });

  it('is stopped by Ctrl-C while an answer is awaited; a second one ends the program at once', async () => {
    put(TRUSTING);
    api.canned.set(`GET ${PATH}`, () => {
      stop();
      stop();
      return 'hang';
    });
    expect((await rotate('--to vault-1')).code).toBe(4);
    expect(exits).toEqual([130]);
  });

  it.each([
    ['--watch', TRUSTING, 0],
    ['--watch', IDLE, 3],
    ['--watch', ROLLING_BACK, 0],
  ])('%s of one that is there already', async (line, first, code) => {
    show(first, first === ROLLING_BACK ? ROLLED_BACK : DONE);
    expect((await rotate(line)).code).toBe(code);
    expect(sent()).toEqual([]);
  });
});

describe('changing a rotation that is under way', () => {
  it.each<[string, RotationView, object]>([
    ['--pause', SWITCHING, { to: 'vault-1', paused: true }],
    ['--resume', PAUSED, { to: 'vault-1', paused: false }],
    ['--max-per-second 200', SWITCHING, { to: 'vault-1', maxPerSecond: 200 }],
    ['--immediate', SWITCHING, { to: 'vault-1', immediate: true }],
    ['--keep-old', SWITCHING, { to: 'vault-1', keepOld: true }],
  ])('%s sends only that', async (line, present, body) => {
    show(present);
    put(DONE);
    expect((await rotate(line)).code).toBe(0);
    expect(sent()).toEqual([{ method: 'PUT', body }]);
  });

  it.each([
    ['--pause', IDLE, 'none was started'],
    ['--resume', DONE, 'the last one is done'],
    ['--max-per-second 3', DONE, 'the last one is done'],
  ])('%s needs one', async (line, view, why) => {
    show(view);
    expect(await rotate(line)).toEqual({
      code: 3,
      stdout: '',
      stderr: lines(
        'error: no rotation of mesh default is under way',
        `  why: ${why}`,
        '  fix: start one: mesh-ca rotate default --to BACKEND',
      ),
    });
    expect(sent()).toEqual([]);
  });

  it('--pause does not watch', async () => {
    show(SWITCHING);
    put(PAUSED);
    const { code, stdout } = await rotate('--pause');
    expect(code).toBe(0);
    expect(stdout).toContain('STATE          paused while switching');
  });

  it('--rollback tells what it came back to', async () => {
    api.canned.set(`DELETE ${PATH}`, taken(ROLLING_BACK));
    show(ROLLED_BACK);
    expect((await rotate('--rollback')).stdout).toMatch(
      /^✓ mesh default uses ca-1 again; vault-1 stays in the mesh\n120 data planes, 40 s\b/,
    );
    expect(sent()).toEqual([{ method: 'DELETE', body: {} }]);
  });
});

describe('a command line that makes no sense', () => {
  it.each([
    '--to a --rollback',
    '--pause --resume',
    '--watch --no-wait',
    '--watch --max-per-second 3',
    '--no-wait',
    '--pause --keep-old',
    '--to a --max-per-second 0',
    '--to a --max-per-second 10001',
    '--to a --max-per-second 1e3',
    '--to a --max-per-second 0.5',
    '--to a --max-per-second fast',
    'a b',
  ])('is refused before anything is asked: %s', async (line) => {
    const { code, stdout, stderr } = await rotate(line);
    expect([code, stdout, api.received]).toEqual([2, '', []]);
    expect(stderr).toMatch(/^error: /);
  });
});

describe('on a terminal', () => {
  /** The way back to the first line. */
  const ESC = String.fromCharCode(27);
  const BACK = new RegExp(`\r${ESC}\\[(\\d+)A${ESC}\\[0J`, 'g');
  /** What stands there after each drawing. */
  const frames = (text: string) => text.replaceAll(BACK, '\f').split('\f').map(stripVTControlCharacters);

  it('draws a bar for the phase it is in, again and again in the same place, and leaves nothing of it', async () => {
    put(TRUSTING);
    show(SWITCHING, 'drop', DONE);
    const { code, stdout, stderr } = await rotate('--to vault-1', { tty: true });
    expect(code).toBe(0);
    expect(stripVTControlCharacters(stdout)).toMatch(/^✓ mesh default uses vault-1/);
    const drawn = frames(stderr);
    expect(drawn).toHaveLength(5);
    expect(drawn[0]).toBe(
      lines(
        'rotating mesh default from ca-1 to vault-1, 1 min',
        '> trusting   ███████████████████████▊  117 of 118 trust the new CA',
        '  switching',
        '  draining',
        '  removing',
        'waiting for 1 data plane:',
        '  DATA PLANE   WAITING FOR              SINCE',
        '  web-1        trust bundle 7 (has 6)   57 s',
      ),
    );
    expect(drawn[1]).toContain(
      lines(
        '✓ trusting   12 s',
        '> switching  █████████████░░░░░░░░░░░   64 of 118 use a certificate of the new CA, about 40 s left',
      ),
    );
    expect(drawn[1]).toContain('waiting for 54 data planes; the first 5:');
    expect(drawn[2]).toContain('mesh-ca does not answer');
    expect(drawn[3]).toContain('✓ removing   10 s');
    expect(drawn[4]).toBe('');
    // As many lines up as were drawn.
    for (const [index, [, up]] of [...stderr.matchAll(BACK)].entries())
      expect(Number(up)).toBe((drawn[index] ?? '').split('\n').length - 1);
    expect(stderr.split('\u001b[?7l').length).toBe(stderr.split('\u001b[?7h').length);
  });

  it('uses ASCII where the locale has no more, and no colours where none are wanted', async () => {
    put(TRUSTING);
    show(SWITCHING, DONE);
    const { stdout, stderr } = await rotate('--to vault-1', { tty: true, env: { LANG: 'C', NO_COLOR: '1' } });
    expect(stderr).toContain('> switching  [#############-----------]   64 of 118 use');
    expect(stderr.replaceAll(BACK, '').replaceAll('\u001b[?7l', '').replaceAll('\u001b[?7h', '') + stdout).toMatch(
      /^[\n -~]*$/,
    );
  });

  it('tells lines as in a log when it cannot draw', async () => {
    put(TRUSTING);
    show(DONE);
    const { stderr } = await rotate('--to vault-1', { tty: true, env: { TERM: 'dumb' } });
    expect(stderr).toMatch(/^ +0 s {2}trusting: /);
    expect(stderr).not.toContain('\u001b');
  });

  it('shows a roll-back, a pause and kept backends as what they are', async () => {
    api.canned.set(`DELETE ${PATH}`, taken(ROLLING_BACK));
    show(ROLLED_BACK);
    const back = frames((await rotate('--rollback', { tty: true })).stderr)[0];
    expect(back).toMatch(
      /^rolling mesh default back to ca-1, 1 min\n✓ trusting\n> switching {2}█+▊░* {2}117 of 118 use a certificate of the old CA again\n/,
    );
    put({ ...STOPPED, options: { keepOld: true, immediate: false } });
    const paused = frames((await rotate('--to vault-1', { tty: true })).stderr)[0];
    expect(paused).toMatch(/\n> switching {2}.* 64 of 118 .* {2}paused\npaused: the mesh was changed meanwhile\n/);
    expect(paused).not.toContain('removing');
  });
});
