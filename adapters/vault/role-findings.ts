import type { VaultConf } from './config.ts';
import { allowedUriSans } from './error-rules.ts';
import { inNamespace } from './in-namespace.ts';
import type { RoleReply } from './replies.ts';
import { readRole } from './role.ts';

export interface RoleFinding {
  readonly message: string;
  readonly fix: string;
}

interface Asked {
  readonly role: RoleReply;
  readonly conf: Pick<VaultConf, 'pki' | 'role' | 'namespace' | 'commonName'>;
  readonly mesh: string;
  readonly maySign: boolean;
}

/** A role that does not let proxies be what they are: what it says, and the change to it. Vault would refuse, or give a certificate of no use. */
const RULES: readonly {
  applies(asked: Asked): boolean;
  readonly message: string;
  change(asked: Asked): string;
}[] = [
  {
    applies: ({ role, mesh }) =>
      !allowsUri(role, `spiffe://${mesh}/a-service`) || !allowsUri(role, 'kuma://a-tag/a-value'),
    message: 'does not allow the names of this mesh (allowed_uri_sans)',
    change: allowedUriSans,
  },
  {
    applies: ({ role, maySign }) => maySign && readRole(role).keyTypes.length === 0,
    message: 'signs no type of key that proxies can use (key_type, key_bits)',
    change: () => 'key_type=any key_bits=0',
  },
  {
    applies: ({ role, maySign }) => !maySign && role.key_type === 'any',
    message: 'makes no keys (key_type=any), and the token may not sign',
    change: () => 'key_type=ec key_bits=256',
  },
  {
    applies: ({ role, conf }) => role.require_cn && conf.commonName === undefined,
    message: 'wants a common name (require_cn), and fromCp.commonName is not set',
    change: () => 'require_cn=false',
  },
  {
    applies: ({ role }) => !role.client_flag || !role.server_flag,
    message: 'gives certificates for servers or clients only (server_flag, client_flag), and a proxy is both',
    change: () => 'server_flag=true client_flag=true',
  },
  {
    applies: ({ role }) => role.generate_lease,
    message:
      'ties certificates to the token that asked for them (generate_lease): Vault revokes them when that token ends',
    change: () => 'generate_lease=false',
  },
];

export function findRoleFindings(asked: Asked): readonly RoleFinding[] {
  const { pki, role, namespace } = asked.conf;
  return RULES.filter((rule) => rule.applies(asked)).map((rule) => ({
    message: `role ${role} ${rule.message}`,
    fix: inNamespace(`vault patch ${pki}/roles/${role} ${rule.change(asked)}`, namespace),
  }));
}

/** Globs as Vault reads them: `*` stands for anything, `/` too. Templates are left to Vault. */
function allowsUri({ allowed_uri_sans: allowed }: RoleReply, uri: string): boolean {
  return (allowed ?? []).some((glob) => glob.includes('{{') || matchesGlob(glob, uri));
}

function matchesGlob(glob: string, text: string): boolean {
  const parts = glob.split('*');
  const [first = '', ...rest] = parts;
  if (rest.length === 0) return glob === text;
  const last = rest.pop() ?? '';
  if (!text.startsWith(first) || !text.endsWith(last) || text.length < first.length + last.length) return false;
  let at = first.length;
  for (const part of rest) {
    const found = text.indexOf(part, at);
    if (found < 0 || found + part.length > text.length - last.length) return false;
    at = found + part.length;
  }
  return true;
}
