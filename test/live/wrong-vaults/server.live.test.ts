import { afterAll, beforeAll, describe } from 'vitest';
import { systemClock } from '../../../src/runtime/clock.ts';
import { type StartedOpenBao, startOpenBao } from '../../../testcontainers/openbao.ts';
import { pollUntil } from '../../../testcontainers/server-process.ts';
import { setUpPki } from '../../../testcontainers/vault-pki.ts';
import { startTestApp, type TestApp } from '../../support/test-app.ts';
import { followFix } from './follow-fix.ts';
import { carryOut, inWords, itTellsAndCures, type WrongVault } from './wrong-vault.ts';

const print = (line: string) => void process.stdout.write(`${line}\n`);
const ACTIVE_WITHIN_MS = 10_000;

let bao: StartedOpenBao;
let onDisk: StartedOpenBao;
let forgetful: StartedOpenBao;
let withTls: StartedOpenBao;
let app: TestApp;
let appOfOtherTime: TestApp;

/** How far the clock of `appOfOtherTime` is ahead. */
let shiftMs = 0;
const shiftedClock = { ...systemClock, now: () => new Date(systemClock.now().getTime() + shiftMs) };

beforeAll(async () => {
  [bao, onDisk, forgetful, withTls, app, appOfOtherTime] = await Promise.all([
    startOpenBao({ print }),
    startOpenBao({ print, storage: 'disk' }),
    startOpenBao({ print, storage: 'memory' }),
    startOpenBao({ print, tls: ['DNS:vault.test'] }),
    startTestApp(),
    startTestApp({}, { clock: shiftedClock }),
  ]);
});
afterAll(async () => {
  await Promise.all([app?.close(), appOfOtherTime?.close()]);
  await Promise.all([bao, onDisk, forgetful, withTls].map((server) => server?.close()));
});

const caOf = (server: StartedOpenBao) => ({ inlineString: server.caCertPem ?? '' });

const CASES: readonly WrongVault[] = [
  {
    name: 'sealed',
    server: () => onDisk,
    spoil: ({ server }) => server.seal(),
    check: 'unsealed',
    says: /is sealed/,
    retry: true,
    follow: async (fix, world) => {
      await followFix(fix, world, { answers: [world.server.unsealKey] });
      // With storage on disk it stands by for a moment.
      await pollUntil(ACTIVE_WITHIN_MS, async () => (await world.server.request('GET', 'sys/health')).status === 200);
    },
  },
  {
    name: 'down',
    server: () => onDisk,
    spoil: ({ server }) => server.stop(),
    check: 'address-reachable',
    says: /refuses connections/,
    retry: true,
    field: 'fromCp.address',
    follow: inWords(/start Vault/, async ({ server }) => {
      await server.restart();
      await server.unseal();
    }),
  },
  {
    name: 'never initialised',
    server: () => forgetful,
    spoil: ({ server }) => server.restart(),
    check: 'unsealed',
    says: /is not initialised/,
    follow: async (fix, world) => {
      const said = await followFix(fix, world, { way: /operator init/, only: /operator init/ });
      const answers = [...said.matchAll(/Unseal Key \d+: (\S+)/g)].map(([, key = '']) => key);
      for (const answer of answers.slice(0, 3)) {
        await followFix(fix, world, { only: /operator unseal/, answers: [answer] });
      }
      const token = /Initial Root Token: (\S+)/.exec(said)?.[1] ?? '';
      const { request, must } = world.server;
      const pki = await setUpPki(
        {
          ...world.server,
          request: (method, path, body, options) => request(method, path, body, { token, ...options }),
          must: (method, path, body, options) => must(method, path, body, { token, ...options }),
        },
        { mesh: world.mesh, mount: world.mount, policy: 'sign', roleFile: 'role-dataplane-proxies-sign.json' },
      );
      await world.giveToken(pki.token);
    },
  },
  {
    name: 'an agent that is down',
    spoil: ({ change }) => change({ agentAddress: 'http://127.0.0.1:1' }),
    check: 'address-reachable',
    says: /refuses connections/,
    retry: true,
    field: 'fromCp.agentAddress',
    follow: inWords(/correct fromCp\.agentAddress/, ({ change, server }) => change({ agentAddress: server.address })),
  },
  {
    name: 'a host name that does not exist',
    spoil: ({ change }) => change({ address: 'http://no-such-host.invalid:8200' }),
    check: 'address-reachable',
    says: /cannot be resolved/,
    field: 'fromCp.address',
    follow: inWords(/correct the host name in fromCp\.address/, ({ change, server }) =>
      change({ address: server.address }),
    ),
  },
  {
    name: 'TLS for another name',
    server: () => withTls,
    spoil: ({ change, server }) => change({ tls: { caCert: caOf(server) } }),
    check: 'tls-name',
    says: /for another name/,
    field: 'fromCp.tls.serverName',
    follow: inWords(/set fromCp\.tls\.serverName/, ({ change, server }) =>
      change({ tls: { caCert: caOf(server), serverName: 'vault.test' } }),
    ),
  },
  {
    name: 'TLS of a CA that is not trusted',
    server: () => withTls,
    spoil: ({ change }) => change({ tls: { serverName: 'vault.test' } }),
    check: 'tls-trusted',
    says: /not trusted/,
    field: 'fromCp.tls.caCert',
    follow: inWords(/set fromCp\.tls\.caCert/, ({ change, server }) =>
      change({ tls: { caCert: caOf(server), serverName: 'vault.test' } }),
    ),
  },
  {
    name: 'HTTP asked of an HTTPS port',
    server: () => withTls,
    spoil: ({ change, server }) =>
      change({
        address: server.address.replace('https:', 'http:'),
        tls: { caCert: caOf(server), serverName: 'vault.test' },
      }),
    check: 'address-reachable',
    says: /speaks HTTPS/,
    field: 'fromCp.address',
    follow: inWords(/write https:\/\/ in fromCp\.address/, ({ change, server }) => change({ address: server.address })),
  },
  {
    name: 'HTTPS asked of an HTTP port',
    spoil: ({ change, server }) => change({ address: server.address.replace('http:', 'https:') }),
    check: 'address-reachable',
    says: /does not speak TLS/,
    field: 'fromCp.address',
    follow: inWords(/write http:\/\/ in fromCp\.address/, ({ change, server }) => change({ address: server.address })),
  },
  {
    name: 'a namespace that does not exist',
    spoil: ({ change }) => change({ namespace: 'nowhere' }),
    check: 'namespace',
    says: /no such namespace: nowhere/,
    field: 'fromCp.namespace',
    follow: inWords(/correct fromCp\.namespace/, ({ change }) => change({ namespace: undefined })),
  },
  ...(
    [
      [-40_000, undefined],
      [120_000, undefined],
      [-12_000, 'warning'],
    ] as const
  ).map(
    ([aheadMs, status]): WrongVault => ({
      name: `clocks that differ by ${Math.abs(aheadMs / 1000)} s, ours ${aheadMs > 0 ? 'ahead' : 'behind'}`,
      app: () => appOfOtherTime,
      spoil: async ({ mount, must }) => {
        // A CA is seldom younger than the clocks differ.
        const parameters = { common_name: 'old root', ttl: '87600h', not_before_duration: '1h' };
        await must('DELETE', `${mount}/root`);
        await must('POST', `${mount}/root/generate/internal`, parameters);
        shiftMs = aheadMs;
      },
      check: 'clock',
      ...(status && { status }),
      // Vault tells whole seconds.
      says: aheadMs > 0 ? /1[12]\d s behind/ : /(1[123]|[34]\d) s ahead/,
      follow: inWords(/synchroni[sz]e|NTP/, () => {
        shiftMs = 0;
      }),
    }),
  ),
  {
    name: 'a quota that is used up',
    spoil: async ({ mount, must, server }) => {
      await must('POST', `sys/quotas/rate-limit/${mount}`, { path: `${mount}/`, rate: 1, interval: '300s' });
      await server.request('GET', `${mount}/ca/pem`);
    },
    check: 'mount-readable',
    says: /limits the rate/,
    retry: true,
    keepsWaiting: true,
    follow: carryOut(({ mount }) => ({
      fill: { '<name>': mount, '<its path>': `${mount}/`, '<its interval>': '1s', '<more>': '1000' },
    })),
  },
];

describe('a server that is wrong', () => {
  itTellsAndCures(CASES, { server: () => bao, app: () => app });
});
