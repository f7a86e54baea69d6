import { describe, expect, it, onTestFinished } from 'vitest';
import { inNamespace } from '../../adapters/vault/in-namespace.ts';
import { errors } from '../fakes/fake-vault.ts';
import { startBackend } from '../fakes/vault-backend.ts';
import { inspectAll } from '../support/inspect-all.ts';

describe('the command of a fix, for a conf with a namespace', () => {
  it.each([
    ['vault patch pki/roles/web key_type=any', 'vault patch -namespace=team/a pki/roles/web key_type=any'],
    [
      'see vault auth list and vault read pki',
      'see vault auth list -namespace=team/a and vault read -namespace=team/a pki',
    ],
    [
      'vault secrets enable -path=pki pki; vault auth enable cert',
      'vault secrets enable -namespace=team/a -path=pki pki; vault auth enable -namespace=team/a cert',
    ],
    [
      'vault secrets list; vault policy read p',
      'vault secrets list -namespace=team/a; vault policy read -namespace=team/a p',
    ],
    ['vault token create -orphan', 'vault token create -namespace=team/a -orphan'],
    ['vault write -f -field=secret_id auth/x', 'vault write -namespace=team/a -f -field=secret_id auth/x'],
  ])('says which: %s', (fix, expected) => {
    expect(inNamespace(fix, 'team/a')).toBe(expected);
    expect(inNamespace(fix, '')).toBe(fix);
    expect(inNamespace(expected, 'team/a')).toBe(expected);
  });

  it.each([
    'vault operator unseal',
    'vault list sys/quotas/rate-limit',
    'vault namespace create team/a',
    'start vault',
  ])('leaves alone what is not of a namespace: %s', (fix) => expect(inNamespace(fix, 'team/a')).toBe(fix));

  it('is so in what callers get and in what an inspection says', async () => {
    const { vault, issuer, sign } = await startBackend(onTestFinished, ['sign', 'readRole'], { namespace: 'team/a' });
    const { role } = vault.pki;
    Object.assign(vault.pki, { role: { ...role, key_type: 'ed25519' } });
    const fix = 'vault patch -namespace=team/a kmesh-pki-default/roles/dataplane-proxies key_type=any key_bits=0';
    await expect(sign()).rejects.toMatchObject({ fix });
    const found = await inspectAll(issuer);
    expect(found.find(({ status }) => status === 'failed')).toMatchObject({ name: 'vault.role-keys', fix });
    vault.pki.role = role;
    vault.fault = ({ path }) =>
      path.includes('/sign/')
        ? { status: 400, body: JSON.stringify(errors(400, 'unknown role: dataplane-proxies').body) }
        : undefined;
    await expect(sign()).rejects.toMatchObject({ fix: expect.stringContaining('vault write -namespace=team/a kmesh') });
  });
});
