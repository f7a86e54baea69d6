import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CliIo } from '../../src/cli/cli-io.ts';
import { configureServe, type RunningApp, type StartApp } from '../../src/cli/commands/serve.ts';
import { ConfigError } from '../../src/issuer/errors.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import type { Settings } from '../../src/runtime/settings.ts';
import { SETTING_KEYS, SETTINGS, settingNames } from '../../src/runtime/settings-table.ts';
import { run } from './run.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mesh-ca-serve-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** `serve` around an app of the test's own, with hands on its signals. */
function start(argv: readonly string[], startApp: StartApp, env: Record<string, string> = {}) {
  const lines: string[] = [];
  const exits: number[] = [];
  const started = gate();
  const hands: { signal: () => void; fatal: (error: unknown) => void } = { signal() {}, fatal() {} };
  const io: CliIo = {
    env,
    stdin: process.stdin,
    stdout: { write() {}, isTTY: false },
    stderr: { write() {}, isTTY: false },
    clock: systemClock,
    log: { write: (line) => void lines.push(line) },
    onStopSignal: (listener) => {
      hands.signal = listener;
    },
    onFatal: (listener) => {
      hands.fatal = listener;
    },
    exit: (code) => void exits.push(code),
  };
  const command = new Command('serve').exitOverride();
  configureServe(command, io, (settings, deps) => {
    started.open();
    return startApp(settings, deps);
  });
  const done = command.parseAsync([...argv], { from: 'user' });
  return { done, lines, exits, hands, started: started.promise };
}

function appThat(close: () => Promise<void>): RunningApp {
  return { address: 'http://127.0.0.1:5681', addresses: { api: 'http://127.0.0.1:5681' }, close };
}

/** A promise and what settles it. */
function gate(): { promise: Promise<void>; open: () => void } {
  let open = () => {};
  const promise = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { promise, open };
}

describe('serve', () => {
  it('says ready in one JSON line with every address, and stops cleanly at a signal', async () => {
    let closed = 0;
    const { done, lines, hands, exits, started } = start(['--api-port', '0'], async () =>
      appThat(async () => {
        closed += 1;
      }),
    );
    await started;
    hands.signal();
    await done;
    expect(lines.map((line) => JSON.parse(line))).toEqual([
      expect.objectContaining({
        level: 'info',
        msg: 'mesh-ca is ready',
        address: 'http://127.0.0.1:5681',
        addresses: { api: 'http://127.0.0.1:5681' },
        startMs: expect.any(Number),
      }),
      expect.objectContaining({ msg: 'mesh-ca stops: answers under way are finished' }),
      expect.objectContaining({ msg: 'mesh-ca has stopped' }),
    ]);
    expect({ closed, exits }).toEqual({ closed: 1, exits: [] });
  });

  it('ends at once at the second signal', async () => {
    const closing = gate();
    const finish = gate();
    const { done, hands, exits, started } = start([], async () =>
      appThat(() => {
        closing.open();
        return finish.promise;
      }),
    );
    await started;
    hands.signal();
    await closing.promise;
    hands.signal();
    expect(exits).toEqual([130]);
    finish.open();
    await done;
  });

  it('logs an error that nobody caught without what is secret in it, and ends', async () => {
    const { done, hands, exits, lines, started } = start([], async () => appThat(async () => {}));
    await started;
    hands.fatal(new Error('token hvs.CAESIJlWWKDvNLKkyTbN'));
    expect(exits).toEqual([1]);
    expect(lines.join('')).toContain('mesh-ca ends');
    expect(lines.join('')).not.toContain('CAESIJ');
    hands.signal();
    await done;
  });

  it('hands over settings from flags, environment and file', async () => {
    await writeFile(join(folder, 'mesh-ca.yaml'), 'apiPort: 1\napiHost: localhost\nlogLevel: error\n');
    let seen: Settings | undefined;
    const { done, hands, started } = start(
      [
        '--config',
        join(folder, 'mesh-ca.yaml'),
        '--api-port',
        '3',
        '--file-data-source-dirs',
        '/a',
        '--file-data-source-dirs',
        '/b',
      ],
      async (settings) => {
        seen = settings;
        return appThat(async () => {});
      },
      { MESH_CA_API_HOST: '::1' },
    );
    await started;
    hands.signal();
    await done;
    expect(seen).toMatchObject({ apiPort: 3, apiHost: '::1', logLevel: 'error', fileDataSourceDirs: ['/a', '/b'] });
  });

  it('finds the file of MESH_CA_CONFIG', async () => {
    await writeFile(join(folder, 'mesh-ca.yaml'), 'mode: zone\n');
    const { code, stderr } = await run(['serve'], { env: { MESH_CA_CONFIG: join(folder, 'mesh-ca.yaml') } });
    expect({ code, stderr }).toEqual({ code: 5, stderr: expect.stringContaining('why: mode: "zone" is not usable') });
  });

  it('tells every mistake of its configuration at once and ends with 5', async () => {
    const env = { MESH_CA_API_HOSTS: 'x', MESH_CA_DP_KEY_TYPE: 'DSA' };
    expect(await run(['serve', '--api-port', 'http', '--dp-cert-expiration', 'soon'], { env })).toEqual({
      code: 5,
      stdout: '',
      stderr: [
        'error: 4 settings are wrong',
        '  why: MESH_CA_API_HOSTS: unknown environment variable: expected one of the settings, perhaps `MESH_CA_API_HOST`',
        '       --api-port: "http" is not usable: expected a whole number from 0 to 65535; 0 takes a free port',
        '       --dp-cert-expiration: "soon" is not usable: expected a whole number and one of the units y, w, d, h, m, s, ms, from 1m to 10y, such as `30d`',
        '       MESH_CA_DP_KEY_TYPE: "DSA" is not usable: expected `EC-P256` or `RSA-2048`',
        '  fix: correct them; `mesh-ca serve --help` lists every setting',
        '',
      ].join('\n'),
    });
  });

  it('ends with 5 when the file of settings is not there', async () => {
    expect(await run(['serve', '--config', join(folder, 'none.yaml')])).toEqual({
      code: 5,
      stdout: '',
      stderr: [
        `error: could not read the settings from ${join(folder, 'none.yaml')}`,
        '  why: there is no such file or folder',
        '  fix: correct --config or MESH_CA_CONFIG',
        '',
      ].join('\n'),
    });
  });

  it('passes on what the app cannot start with', async () => {
    const refused = new ConfigError('cannot listen on 127.0.0.1:5681: EADDRINUSE', { fix: 'take another port' });
    await expect(start([], () => Promise.reject(refused)).done).rejects.toBe(refused);
  });

  it('lists every setting in its help: flag, variable, default and what it is for', async () => {
    const { code, stdout } = await run(['serve', '--help']);
    const text = stdout.replace(/\s+/g, ' ');
    expect(code).toBe(0);
    for (const key of SETTING_KEYS) {
      const { flag, env } = settingNames(key);
      expect(text).toContain(
        `${flag} <value> ${SETTINGS[key].doc} Expected: ${SETTINGS[key].form} (env: ${env}; default: `,
      );
    }
  });
});
