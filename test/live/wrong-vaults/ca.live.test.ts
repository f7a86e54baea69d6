import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, onTestFinished } from 'vitest';
import { systemClock } from '../../../src/runtime/clock.ts';
import { createStage } from './stage.ts';
import { textAt, textsAt, type World } from './world.ts';
import { carryOut, itTellsAndCures, type WrongVault } from './wrong-vault.ts';

const stage = createStage();

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

/** As Vault names the new CA by itself: `next`. It ends at once. */
async function renewByHand({ mesh, mount, must }: World): Promise<void> {
  await must('POST', `${mount}/root/rotate/internal`, { common_name: `${mesh} root`, ttl: '1s' });
  await must('POST', `${mount}/root/replace`, { default: 'next' });
}

/** The role signs with an issuer of its own, which ends at once. */
async function bindToSecond({ mesh, mount, must, role }: World): Promise<void> {
  const second = { common_name: `${mesh} second root`, issuer_name: 'second', ttl: '1s' };
  await must('POST', `${mount}/issuers/generate/root/internal`, second);
  await must('PATCH', `${mount}/roles/${role}`, { issuer_ref: 'second' });
  await systemClock.sleep(1_100);
}

/** Makes the certificate of a CA whose key this mount does not have its default issuer. */
async function useStranger({ mount, must }: World): Promise<void> {
  await must('POST', `sys/mounts/${mount}-stranger`, { type: 'pki' });
  const made = await must('POST', `${mount}-stranger/root/generate/internal`, { common_name: 'stranger', ttl: '10h' });
  const pem = textAt(made, 'data', 'certificate');
  const imported = await must('POST', `${mount}/issuers/import/cert`, { pem_bundle: pem });
  const [stranger] = textsAt(imported, 'data', 'imported_issuers');
  await must('POST', `${mount}/config/issuers`, { default: stranger });
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
    name: 'a CA that has ended after it was renewed once',
    spoil: async (world) => {
      await replaceRoot(world, '48h');
      await renewByHand(world);
      await systemClock.sleep(1_100);
    },
    check: 'ca-valid',
    says: /expired at/,
    follow: carryOut(),
  },
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
    name: 'a CA of its own for the role, which has ended',
    spoil: bindToSecond,
    check: 'ca-valid',
    says: /second root.* expired at/,
    follow: carryOut(),
  },
  {
    name: 'a role of an issuer that is gone',
    spoil: ({ mount, must, role }) => must('PATCH', `${mount}/roles/${role}`, { issuer_ref: 'gone' }),
    check: 'issuer-signs',
    says: /no issuer gone/,
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
    follow: carryOut(),
  },
  {
    name: 'a default issuer without a key',
    spoil: useStranger,
    check: 'issuer-signs',
    says: /no key/,
    follow: carryOut(),
  },
];

describe('a CA that is wrong', () => {
  itTellsAndCures(CASES, stage);
});
