import { describe, expect, it } from 'vitest';
import { followFix } from './follow-fix.ts';
import { createStage } from './stage.ts';
import { createWorld, type World } from './world.ts';
import { carryOut, inWords, itTellsAndCures, validate, type WrongVault } from './wrong-vault.ts';

const stage = createStage();

const patchRole =
  (changes: object) =>
  ({ mount, must, role }: World) =>
    must('PATCH', `${mount}/roles/${role}`, changes);

/** What the documented role for `sign` gets, and how the check says what is wrong with it. */
const ROLES: readonly (Pick<
  WrongVault,
  'name' | 'check' | 'also' | 'says' | 'field' | 'status' | 'pki' | 'namespace'
> & {
  readonly changes: object;
})[] = [
  {
    name: 'a role without the names of this mesh',
    changes: { allowed_uri_sans: 'spiffe://other/*,kuma://*' },
    check: 'role-names',
    says: /allowed_uri_sans/,
  },
  {
    name: 'a role without the tags',
    changes: { allowed_uri_sans: 'spiffe://*' },
    check: 'role-names',
    says: /allowed_uri_sans/,
  },
  {
    name: 'a role in a namespace, without the names of this mesh',
    namespace: 'team',
    changes: { allowed_uri_sans: 'spiffe://other/*,kuma://*' },
    check: 'role-names',
    says: /allowed_uri_sans/,
  },
  {
    name: 'a role for servers only',
    changes: { client_flag: false },
    check: 'role-usages',
    says: /server_flag|client_flag/,
  },
  {
    name: 'a role for clients only',
    changes: { server_flag: false },
    check: 'role-usages',
    says: /server_flag|client_flag/,
  },
  {
    name: 'a role that wants a common name',
    changes: { require_cn: true },
    check: 'role-common-name',
    says: /require_cn/,
    field: 'fromCp.commonName',
  },
  {
    name: 'a role for keys that proxies cannot use',
    changes: { key_type: 'ed25519', key_bits: 0 },
    check: 'role-keys',
    says: /ed25519/,
  },
  {
    name: 'a role that makes no keys, for a token that may not sign',
    pki: { policy: ['issue', 'checks'] },
    changes: { key_type: 'any', key_bits: 0 },
    check: 'role-keys',
    says: /key_type=any/,
  },
  {
    name: 'a role that ties certificates to the token',
    changes: { generate_lease: true, no_store: false },
    check: 'role-leases',
    says: /generate_lease/,
  },
  {
    name: 'a role that keeps every certificate',
    changes: { no_store: false },
    check: 'not-stored',
    status: 'warning',
    says: /no_store/,
  },
  {
    name: 'a role whose certificates are far too short',
    changes: { ttl: '60s', max_ttl: '60s' },
    check: 'role-lifetime',
    also: ['certificate.lifetime'],
    status: 'warning',
    says: /max_ttl/,
  },
];

const CASES: readonly WrongVault[] = [
  {
    name: 'a mount that does not exist',
    spoil: ({ change }) => change({ pki: 'no-such' }),
    check: 'mount-readable',
    says: /no PKI mount/,
    field: 'fromCp.pki',
    follow: inWords(/correct fromCp\.pki/, ({ change, mount }) => change({ pki: mount })),
  },
  {
    name: 'a mount in a namespace that the conf does not name',
    namespace: 'team',
    spoil: ({ change }) => change({ namespace: undefined }),
    check: 'mount-readable',
    says: /no PKI mount/,
    field: 'fromCp.pki',
    follow: inWords(/set fromCp\.namespace/, ({ change }) => change({ namespace: 'team' })),
  },
  {
    name: 'a mount of another type',
    spoil: async ({ change, mount, must }) => {
      await must('POST', `sys/mounts/${mount}-kv`, { type: 'kv' });
      change({ pki: `${mount}-kv` });
    },
    check: 'mount-readable',
    says: /no PKI mount/,
    field: 'fromCp.pki',
    follow: inWords(/correct fromCp\.pki/, ({ change, mount }) => change({ pki: mount })),
  },
  {
    name: 'a role that does not exist',
    spoil: ({ mount, must, role }) => must('DELETE', `${mount}/roles/${role}`),
    check: 'role-readable',
    says: /no (such )?role:? dataplane-proxies/,
    field: 'fromCp.role',
    follow: carryOut(),
  },
  ...ROLES.map(({ changes, ...role }): WrongVault => ({ ...role, spoil: patchRole(changes), follow: carryOut() })),
  {
    name: 'a role that refuses the common name of the template',
    spoil: ({ change }) => change({ commonName: '{{ tag "kuma.io/service" }}.example' }),
    check: 'role-common-name',
    says: /allowed_domains/,
    field: 'fromCp.commonName',
    follow: carryOut(),
  },
];

describe('a mount or role that is wrong', () => {
  itTellsAndCures(CASES, stage);
});

describe('a Vault with nothing in it but a token without rights', () => {
  it('is led to a mesh that works by following one fix after the other', async () => {
    const world = await createWorld({
      server: stage.server(),
      app: stage.app(),
      name: 'from-nothing',
      pki: { policy: 'sign' },
    });
    await world.must('DELETE', `sys/mounts/${world.mount}`);
    await world.must('PUT', `sys/policies/acl/${world.policies[0]}`, { policy: '# nothing yet' });
    expect((await world.store(true)).status).toBe(200);
    const followed: string[] = [];
    for (let round = 1; round <= 8; round += 1) {
      const { ok, checks } = await validate(world);
      const failed = checks.find(({ status }) => status === 'failed');
      expect(ok).toBe(failed === undefined);
      if (failed === undefined) break;
      followed.push(failed.name);
      await followFix(failed.fix ?? '', world, failed.name === 'vault.mount-readable' ? { way: /enable/ } : {});
    }
    expect(followed).toEqual([
      'vault.mount-readable',
      'vault.sign-permitted',
      'vault.role-readable',
      'vault.issuer-signs',
    ]);
    expect((await world.store(false)).status).toBe(200);
  });
});
