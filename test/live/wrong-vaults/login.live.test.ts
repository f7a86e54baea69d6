import { describe } from 'vitest';
import { systemClock } from '../../../src/runtime/clock.ts';
import { createToken } from '../../../testcontainers/vault-pki.ts';
import { makeJwtKey } from '../../support/make-jwt.ts';
import { followFix } from './follow-fix.ts';
import { createStage } from './stage.ts';
import { textAt, type World } from './world.ts';
import { carryOut, inWords, itTellsAndCures, type WrongVault } from './wrong-vault.ts';

const stage = createStage();

/** The fix begins with the command that makes a token. @param fill where it cannot know the names of the policies */
const giveTokenOfFix =
  (fill: (world: World) => Readonly<Record<string, string>> = () => ({})): WrongVault['follow'] =>
  async (fix, world) => {
    const only = /^token create .* -field=token$/;
    await world.giveToken((await followFix(fix, world, { fill: fill(world), only })).trim());
  };
const giveNewToken = async (world: World) => world.giveToken(await createToken(world.server, world.policies));
const giveTokenWith = (more: object) => async (world: World) =>
  world.giveToken(await createToken(world.server, world.policies, { ...more }));
const SIGN_ONLY = ({ mount, role }: World) => `path "${mount}/sign/${role}" { capabilities = ["update"] }`;
const writePolicy = (policy: (world: World) => string) => (world: World) =>
  world.must('PUT', `sys/policies/acl/${world.policies[0]}`, { policy: policy(world) });

/** The mesh logs in by AppRole, at a path of its own. */
async function useAppRole(world: World, changes: Readonly<Record<string, unknown>> = {}): Promise<void> {
  const { mesh, must, policies } = world;
  const mount = `approle-${mesh}`;
  await must('POST', `sys/auth/${mount}`, { type: 'approle' });
  await must('POST', `auth/${mount}/role/mesh-ca`, { token_policies: policies, token_ttl: '1h' });
  const roleId = textAt(await must('GET', `auth/${mount}/role/mesh-ca/role-id`), 'data', 'role_id');
  const secretId = textAt(await must('POST', `auth/${mount}/role/mesh-ca/secret-id`), 'data', 'secret_id');
  await world.putSecret('secret-id', secretId);
  world.change({ auth: { approle: { mount, roleId, secretId: { secret: 'secret-id' }, ...changes } } });
}

const jwtKey = makeJwtKey('ES256');

/** The mesh logs in by a JWT for the audience `vault`, at a path of its own. */
async function useJwt(world: World, role: object): Promise<void> {
  const { mesh, must, policies } = world;
  const mount = `jwt-${mesh}`;
  await must('POST', `sys/auth/${mount}`, { type: 'jwt' });
  await must('POST', `auth/${mount}/config`, { jwt_validation_pubkeys: [jwtKey.publicPem] });
  const bound = { role_type: 'jwt', user_claim: 'sub', bound_audiences: ['vault'], bound_subject: 'mesh-ca' };
  await must('POST', `auth/${mount}/role/mesh-ca`, { ...bound, token_policies: policies, token_ttl: '1h', ...role });
  const nowSeconds = Math.floor(systemClock.now().getTime() / 1000);
  await world.putSecret('jwt', jwtKey.sign({ sub: 'mesh-ca', aud: 'vault', iat: nowSeconds, exp: nowSeconds + 600 }));
  world.change({ auth: { jwt: { mount, role: 'mesh-ca', token: { secret: 'jwt' } } } });
}

const CASES: readonly WrongVault[] = [
  {
    name: 'a token that was revoked',
    spoil: ({ must, token }) => must('POST', 'auth/token/revoke', { token }),
    check: 'token-valid',
    says: /token is invalid, was revoked/,
    field: 'fromCp.auth.token',
    follow: giveTokenOfFix(({ mesh, policies }) => ({
      [`kmesh-${mesh}-dataplane-proxies-sign`]: policies.find((name) => name.includes('-sign-')) ?? '',
    })),
  },
  {
    name: 'a token about to end that cannot be renewed',
    spoil: giveTokenWith({ ttl: '5m', renewable: false }),
    check: 'token-life',
    says: /ends at .*cannot be renewed/,
    field: 'fromCp.auth.token',
    follow: giveTokenOfFix(),
  },
  {
    name: 'a token for a number of calls',
    spoil: giveTokenWith({ num_uses: 500 }),
    check: 'token-valid',
    status: 'warning',
    says: /for \d+ more calls/,
    follow: giveTokenOfFix(),
  },
  {
    name: 'a token that may not renew itself',
    pki: { policy: 'sign', tokenOptions: { no_default_policy: true, ttl: '2h' } },
    spoil: () => {},
    check: 'rights',
    status: 'warning',
    says: /auth\/token\/renew-self/,
    follow: carryOut(),
  },
  {
    name: 'a token whose policy gives neither sign nor issue',
    pki: { policy: 'checks' },
    spoil: () => {},
    check: 'sign-permitted',
    says: /no policy of it gives it "update" on \S+\/sign\/dataplane-proxies/,
    follow: carryOut(),
  },
  {
    name: 'a token whose policy does not let it read the role',
    pki: { policy: 'sign' },
    spoil: writePolicy(SIGN_ONLY),
    check: 'rights',
    status: 'warning',
    says: /roles\/dataplane-proxies/,
    follow: carryOut(),
  },
  {
    name: 'a secret that is not there',
    spoil: ({ change }) => change({ auth: { token: { secret: 'gone' } } }),
    check: 'credentials-loaded',
    says: /could not load data: resource not found: type="Secret" name="gone"/,
    field: 'fromCp.auth.token',
    code: 'ERR_CONFIG_INVALID',
    follow: inWords(/put the secret first: .* name: gone/, ({ putSecret, token }) => putSecret('gone', token)),
  },
  {
    name: 'a secret that holds no token',
    spoil: ({ giveToken }) => giveToken('\n'),
    check: 'credentials-loaded',
    says: /holds no token/,
    field: 'fromCp.auth.token',
    code: 'ERR_CONFIG_INVALID',
    follow: inWords(/token/, giveNewToken),
  },
  {
    name: 'an AppRole login with a secret id that is used up',
    spoil: async (world) => {
      await useAppRole(world);
      await world.putSecret('secret-id', '00000000-0000-0000-0000-000000000000');
    },
    check: 'login',
    says: /refuses the role id or the secret id/,
    field: 'fromCp.auth.approle',
    follow: async (fix, world) => {
      const said = await followFix(fix, world, { fill: { '<role>': 'mesh-ca' }, only: /secret-id$/ });
      await world.putSecret('secret-id', said.trim());
    },
  },
  {
    name: 'an AppRole login at a path where there is none',
    spoil: (world) => useAppRole(world, { mount: 'no-such' }),
    check: 'login',
    says: /no auth method/,
    field: 'fromCp.auth.approle',
    follow: inWords(/correct fromCp\.auth\.approle\.mount/, async ({ change, mesh, must }) => {
      const mount = `approle-${mesh}`;
      const roleId = textAt(await must('GET', `auth/${mount}/role/mesh-ca/role-id`), 'data', 'role_id');
      change({ auth: { approle: { mount, roleId, secretId: { secret: 'secret-id' } } } });
    }),
  },
  {
    name: 'a JWT for another audience',
    spoil: (world) => useJwt(world, { bound_audiences: ['other'] }),
    check: 'login',
    says: /made for another audience/,
    field: 'fromCp.auth.jwt',
    follow: carryOut(() => ({ fill: { '<audience>': 'vault' } })),
  },
  {
    name: 'a JWT login of a role that does not exist',
    spoil: async (world) => {
      await useJwt(world, {});
      await world.must('DELETE', `auth/jwt-${world.mesh}/role/mesh-ca`);
    },
    check: 'login',
    says: /no such role/,
    field: 'fromCp.auth.jwt',
    follow: async (fix, world) => {
      await followFix(fix, world);
      // The names of one's own that the fix speaks of.
      const { mesh, must, policies } = world;
      await must('POST', `auth/jwt-${mesh}/role/mesh-ca`, { role_type: 'jwt', token_policies: policies });
    },
  },
];

describe('a credential that is wrong', () => {
  itTellsAndCures(CASES, stage);
});
