import type { IssuerDeps } from '../../../src/issuer/issuer.ts';
import { loadWord } from '../../shared/load-text.ts';
import type { AppRoleAuth } from './auth-conf.ts';
import type { LoginMethod } from './login-source.ts';

const SECRET_ID = {
  field: 'fromCp.auth.approle.secretId',
  what: 'a secret id',
  fix: 'store the secret id alone, as `vault write -f -field=secret_id auth/approle/role/<role>/secret-id` prints it',
} as const;

/** AppRole, with a secret id or (`bind_secret_id=false`) without. */
export function createAppRoleLogin(
  auth: AppRoleAuth,
  deps: Pick<IssuerDeps, 'load'>,
): LoginMethod<{ readonly secretId?: string }> {
  return {
    place: { method: 'approle', mount: auth.mount, role: '' },
    async load(signal) {
      return auth.secretId === undefined ? {} : { secretId: await loadWord(deps, auth.secretId, SECRET_ID, signal) };
    },
    async prepare({ secretId }) {
      const body = { role_id: auth.roleId, ...(secretId !== undefined && { secret_id: secretId }) };
      return { ok: true, value: { body } };
    },
  };
}
