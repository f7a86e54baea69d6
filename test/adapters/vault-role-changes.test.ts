import { describe, expect, it, onTestFinished } from 'vitest';
import { IssuerDeniedError, RequestInvalidError } from '../../src/issuer/errors.ts';
import { live, requestFor } from '../conformance/issuer.ts';
import type { FakeRole } from '../fakes/fake-pki.ts';
import { type FakeBackend, GRANTS, startBackend } from '../fakes/vault-backend.ts';
import { IDENTITY } from '../support/identity.ts';
import { settle } from '../support/pass-time.ts';

const [SIGN] = GRANTS.sign;

/** A backend that has signed by its role, which is then changed in Vault. */
async function startChanged(
  change: Partial<FakeRole>,
  grants: readonly (keyof typeof GRANTS)[] = ['sign', 'readRole'],
  before: Partial<FakeRole> = {},
): Promise<FakeBackend & { change(more: Partial<FakeRole>): void }> {
  const backend = await startBackend(onTestFinished, grants);
  const { pki } = backend.vault;
  const { role } = pki;
  if (role === undefined) throw new Error('the fake has a role');
  pki.role = { ...role, ...before };
  await backend.sign('EC-P256');
  pki.role = { ...role, ...change };
  return {
    ...backend,
    change(more) {
      pki.role = { ...role, ...more };
    },
  };
}

const abilities = ({ issuer }: FakeBackend) => issuer.abilities(live());

describe('a role of vault that is changed while mesh-ca runs', () => {
  it('to another type of key: refused once, and known from then on with all that the role says', async () => {
    const backend = await startChanged({ key_type: 'rsa', use_csr_sans: false, use_csr_common_name: false });
    await expect(backend.sign('EC-P256')).rejects.toThrow(RequestInvalidError);
    const known = await abilities(backend);
    expect(known).toMatchObject({ keyTypes: ['RSA-2048', 'RSA-3072', 'RSA-4096'], signsCsrAsIs: false });
    expect(known.keyTypesAreAssumed).toBeUndefined();
  });

  it('to keys that no proxy has: said in so many words, and over as soon as the role is corrected', async () => {
    const backend = await startChanged({ key_type: 'ed25519' });
    await expect(backend.sign('EC-P256')).rejects.toThrow(RequestInvalidError);
    const error = await abilities(backend).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(IssuerDeniedError);
    expect(error).toMatchObject({
      message: expect.stringMatching(/^role dataplane-proxies of kmesh-pki-default signs no type of key .*ed25519/),
      fix: 'vault patch kmesh-pki-default/roles/dataplane-proxies key_type=any key_bits=0',
    });
    backend.change({});
    await expect(backend.sign('EC-P256')).resolves.toBeDefined();
  });

  it('to keys that no proxy has, where it cannot be read: refused by Vault until it is corrected', async () => {
    const backend = await startChanged({ key_type: 'ed25519' }, ['sign']);
    for (const _ of [1, 2]) await expect(backend.sign('EC-P256')).rejects.toThrow(/requires keys of type ed25519/);
    expect((await abilities(backend)).sign).toBe(true);
    backend.change({});
    await expect(backend.sign('EC-P256')).resolves.toBeDefined();
  });

  it('to names from the CSR: what that gave is noticed, and the next CSR is held to it', async () => {
    const ours = { use_csr_sans: false, use_csr_common_name: false };
    const backend = await startChanged({ use_csr_sans: true }, ['sign', 'readRole'], ours);
    expect((await abilities(backend)).signsCsrAsIs).toBe(false);
    const bare = await requestFor({ ...IDENTITY, uriSans: [] }, 'EC-P256', 3600);
    await backend.issuer.sign({ ...bare, identity: IDENTITY }, live());
    expect((await abilities(backend)).signsCsrAsIs).toBe(true);
  });

  it.each([
    ['a role', ({ vault }: FakeBackend) => Object.assign(vault.pki, { role: { ...vault.pki.role, key_type: 'ec' } })],
    ['a policy', ({ vault }: FakeBackend) => vault.grants.set(...GRANTS.issue)],
  ] as const)('%s that is widened counts after a minute, without a refusal', async (_what, widen) => {
    const backend = await startBackend(onTestFinished);
    Object.assign(backend.vault.pki, { role: { ...backend.vault.pki.role, key_type: 'rsa' } });
    const before = await abilities(backend);
    widen(backend);
    backend.deps.clock.advance(59_000);
    expect(await abilities(backend)).toEqual(before);
    backend.deps.clock.advance(1_000);
    expect(await abilities(backend)).not.toEqual(before);
  });

  it('away from under many callers at once: rights are asked about once, and no listener piles up', async () => {
    const warnings: string[] = [];
    const onWarning = (warning: Error) => void warnings.push(warning.name);
    process.on('warning', onWarning);
    onTestFinished(() => void process.off('warning', onWarning));
    const backend = await startChanged({});
    const asked = () => backend.vault.seen.filter(({ path }) => path === 'sys/capabilities-self').length;
    const before = asked();
    backend.vault.grants.delete(SIGN);
    const first = await Promise.allSettled(Array.from({ length: 30 }, () => backend.sign()));
    expect(first.filter(({ status }) => status === 'rejected').length).toBe(30);
    await Promise.allSettled(Array.from({ length: 30 }, () => backend.sign()));
    expect(asked() - before).toBeLessThanOrEqual(2);
    await settle();
    expect(warnings).toEqual([]);
  });

  it('costs one refused call and no more where callers go on with the key that it takes', async () => {
    const backend = await startChanged({ key_type: 'rsa' });
    await expect(backend.sign('EC-P256')).rejects.toThrow(RequestInvalidError);
    for (const _ of [1, 2, 3]) await backend.sign('RSA-2048');
    expect(backend.vault.seen.filter(({ path }) => path === SIGN).length).toBe(5);
  });
});
