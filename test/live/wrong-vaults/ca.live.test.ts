import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, onTestFinished } from 'vitest';
import { systemClock } from '../../../src/runtime/clock.ts';
import { type StartedOpenBao, startOpenBao } from '../../../testcontainers/openbao.ts';
import { startTestApp, type TestApp } from '../../support/test-app.ts';
import { textAt, textsAt, type World } from './world.ts';
import { carryOut, itTellsAndCures, type WrongVault } from './wrong-vault.ts';

const print = (line: string) => void process.stdout.write(`${line}\n`);

let bao: StartedOpenBao;
let app: TestApp;
beforeAll(async () => {
  [bao, app] = await Promise.all([startOpenBao({ print }), startTestApp()]);
});
afterAll(async () => {
  await app?.close();
  await bao?.close();
});

const patchIssuer =
  (changes: object) =>
  ({ mount, must }: World) =>
    must('PATCH', `${mount}/issuer/default`, changes);

/** In the place of the mount's CA. */
async function replaceRoot({ mesh, mount, must }: World, ttl: string): Promise<void> {
  await must('DELETE', `${mount}/root`);
  await must('POST', `${mount}/root/generate/internal`, {
    common_name: `${mesh} root`,
    uri_sans: `spiffe://${mesh}`,
    ttl,
  });
}

/** Makes the certificate of a CA whose key this mount does not have its default issuer. @returns the default one before */
async function useStranger({ mount, must }: World): Promise<string> {
  const before = textAt(await must('GET', `${mount}/config/issuers`), 'data', 'default');
  await must('POST', `sys/mounts/${mount}-stranger`, { type: 'pki' });
  const made = await must('POST', `${mount}-stranger/root/generate/internal`, { common_name: 'stranger', ttl: '10h' });
  const pem = textAt(made, 'data', 'certificate');
  const imported = await must('POST', `${mount}/issuers/import/cert`, { pem_bundle: pem });
  const [stranger] = textsAt(imported, 'data', 'imported_issuers');
  await must('POST', `${mount}/config/issuers`, { default: stranger });
  return before;
}

/** The chain of the mount in a file, as an operator has it who made the intermediate. */
async function chainFile({ mount, must }: World): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'mesh-ca-chain-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const certificates = await Promise.all(
    [mount, `${mount}-root`].map(async (of) => textAt(await must('GET', `${of}/cert/ca`), 'data', 'certificate')),
  );
  const file = join(folder, 'chain.pem');
  await writeFile(file, certificates.join('\n'));
  return file;
}

const ownIssuers = new Map<string, string>();

const CASES: readonly WrongVault[] = [
  ...(['err', 'truncate'] as const).map(
    (behaviour): WrongVault => ({
      name: `a CA that has ended, where Vault is set to ${behaviour}`,
      spoil: async (world) => {
        await replaceRoot(world, '1s');
        await patchIssuer({ leaf_not_after_behavior: behaviour })(world);
        await systemClock.sleep(1_100);
      },
      check: 'ca-valid',
      says: /expired at/,
      follow: carryOut(),
    }),
  ),
  {
    name: 'a CA that ends soon',
    spoil: (world) => replaceRoot(world, '48h'),
    check: 'ca-valid',
    also: ['certificate.root-lifetime'],
    status: 'warning',
    says: /1 day left/,
    follow: carryOut(),
  },
  {
    name: 'a mount without a CA',
    spoil: ({ mount, must }) => must('DELETE', `${mount}/root`),
    check: 'issuer-signs',
    says: /no CA/,
    follow: carryOut(),
  },
  {
    name: 'an intermediate whose root is not known',
    pki: { intermediate: true, withRoot: false },
    spoil: () => {},
    check: 'root-known',
    says: /root/,
    follow: carryOut(async (world) => ({ fill: { 'intermediate-and-root.pem': await chainFile(world) } })),
  },
  {
    name: 'an issuer that may not issue',
    spoil: patchIssuer({ usage: 'read-only,crl-signing' }),
    check: 'issuer-signs',
    says: /cannot sign|issuing-certificates/,
    follow: carryOut(() => ({ way: /usage=/ })),
  },
  {
    name: 'a default issuer without a key',
    spoil: async (world) => {
      ownIssuers.set(world.mesh, await useStranger(world));
    },
    check: 'issuer-signs',
    says: /no key/,
    follow: carryOut(({ mesh }) => ({ way: /default=/, fill: { '<issuer>': ownIssuers.get(mesh) ?? '' } })),
  },
];

describe('a CA that is wrong', () => {
  itTellsAndCures(CASES, { server: () => bao, app: () => app });
});
