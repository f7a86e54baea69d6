import { spanText } from '../../src/text/span-text.ts';
import type { Finding } from '../shared/checks.ts';
import { judgeCommonName } from './common-name-allowed.ts';
import type { VaultConf } from './config.ts';
import { allowedUriSans } from './error-rules.ts';
import { inNamespace } from './in-namespace.ts';
import type { MountReply, RoleReply } from './replies.ts';
import { readRole } from './role.ts';

/** What of a role is judged, with what it is judged by. */
export interface RoleAsked {
  readonly role: RoleReply;
  readonly conf: Pick<VaultConf, 'pki' | 'role' | 'namespace' | 'commonName'>;
  readonly mesh: string;
  readonly maySign: boolean;
  /** Of the mount, where the token may read it. */
  readonly mount: MountReply | undefined;
  /** Lifetime that certificates will be asked for. */
  readonly ttlSeconds: number;
}

export interface RoleVerdict extends Finding {
  readonly status: 'passed' | 'warning' | 'failed';
  /** Of the role: parameters of `vault patch`. */
  readonly change?: string;
}

/** What a role allows already stays in the command that changes it, where it is short and holds nothing that a shell reads. */
const MAX_KEPT = 20;
const PLAIN = /^[\w:/.*@-]{1,256}$/;
/** Of a data plane, and of one with tags: as the names of Kuma's certificates are. */
const tryUris = (mesh: string) => [`spiffe://${mesh}/a-service`, 'kuma://a-tag/a-value'] as const;

const good = (message: string): RoleVerdict => ({ status: 'passed', message });

/** One named check each. What Vault would refuse, or give a certificate for that is of no use, has failed. */
export const ROLE_CHECKS: Readonly<Record<string, (asked: RoleAsked) => RoleVerdict>> = {
  'role-names': ({ role, mesh }) => {
    const allowed = role.allowed_uri_sans ?? [];
    if (tryUris(mesh).every((uri) => allowsUri(allowed, uri))) return good('it allows the names of this mesh');
    const message = 'does not allow the names of this mesh (allowed_uri_sans)';
    if (allowed.length > MAX_KEPT || !allowed.every((glob) => PLAIN.test(glob))) {
      return { status: 'failed', message, change: allowedUriSans({ mesh }) };
    }
    const all = new Set([...allowed, `spiffe://${mesh}/*`, 'kuma://*']);
    return {
      status: 'failed',
      message,
      cause: `it allows ${allowed.length === 0 ? 'none' : allowed.join(', ')}`,
      change: `allowed_uri_sans="${[...all].join(',')}"`,
    };
  },

  'role-keys': ({ role, maySign }) => {
    const { key_type: type, key_bits: bits } = role;
    const told = `key_type=${type} key_bits=${bits}`;
    if (maySign && readRole(role).keyTypes.length === 0) {
      const change = 'key_type=any key_bits=0';
      return { status: 'failed', message: `signs no type of key that proxies can use (${told})`, change };
    }
    if (!maySign && type === 'any') {
      const change = 'key_type=ec key_bits=256';
      return { status: 'failed', message: `makes no keys (${told}), and the token may not sign`, change };
    }
    return good(`its keys are those of proxies (${told})`);
  },

  'role-common-name': ({ role, conf }) => {
    const { commonName: template } = conf;
    if (template === undefined) {
      if (!role.require_cn) return good('it wants no common name, and none is asked for');
      const fix = 'require_cn=false; or set fromCp.commonName';
      return {
        status: 'failed',
        message: 'wants a common name (require_cn), and fromCp.commonName is not set',
        change: fix,
      };
    }
    const { isRefused, change, example } = judgeCommonName(template, role);
    if (!isRefused) return good(`nothing in it is against the common names of fromCp.commonName, such as ${example}`);
    return {
      status: 'failed',
      message: `allows no common name such as ${example} (allowed_domains, allow_subdomains)`,
      change: `${change}; or change fromCp.commonName`,
    };
  },

  'role-usages': ({ role }) => {
    const usages = role.key_usage.map(bareName).filter((usage) => KEY_USAGES.has(usage));
    if (usages.length > 0 && !usages.includes('digitalsignature')) {
      const change = 'key_usage=DigitalSignature,KeyAgreement,KeyEncipherment';
      return { status: 'failed', message: 'gives certificates that may not sign (key_usage)', change };
    }
    const extended = new Set(role.ext_key_usage.map(bareName));
    if (role.server_flag) extended.add('serverauth');
    if (role.client_flag) extended.add('clientauth');
    // None at all is for everything.
    if (extended.size === 0 || extended.has('any') || (extended.has('serverauth') && extended.has('clientauth'))) {
      return good('its certificates are for servers and clients');
    }
    return {
      status: 'failed',
      message: 'gives certificates for servers or clients only (server_flag, client_flag), and a proxy is both',
      change: 'server_flag=true client_flag=true',
    };
  },

  'role-lifetime': ({ role, conf, mount, ttlSeconds }) => {
    if (role.not_after !== '') {
      return {
        status: 'failed',
        message: 'ends all certificates at one time (not_after), which leaves no room for a lifetime',
        change: 'not_after=""; mesh-ca asks for dpCert.rotation.expiration',
      };
    }
    const ofMount = mount?.config.max_lease_ttl ?? 0;
    const isCutByMount = ofMount > 0 && (role.max_ttl === 0 || ofMount < role.max_ttl);
    const longest = isCutByMount ? ofMount : role.max_ttl;
    if (longest === 0) return good('it sets no max_ttl: that of the mount counts, 768 h unless that is changed');
    const told = `${spanText(longest * 1000)} (${isCutByMount ? 'max_lease_ttl of the mount' : 'max_ttl'})`;
    if (longest >= ttlSeconds) return good(`its certificates last at most ${told}`);
    const asked = `${Math.ceil(ttlSeconds / 3600)}h`;
    const cause = `data planes are to get certificates of ${spanText(ttlSeconds * 1000)}; they renew more often instead`;
    const message = `cuts certificates to ${told}`;
    if (!isCutByMount) return { status: 'warning', message, cause, change: `max_ttl=${asked} ttl=${asked}` };
    return { status: 'warning', message, cause, fix: `vault secrets tune -max-lease-ttl=${asked} ${conf.pki}` };
  },

  'role-leases': ({ role }) => {
    if (!role.generate_lease) return good('it ties no certificate to the token that asked for it');
    return {
      status: 'failed',
      message:
        'ties certificates to the token that asked for them (generate_lease): Vault revokes them when that token ends',
      change: 'generate_lease=false',
    };
  },

  'not-stored': ({ role }) => {
    if (role.no_store) return good('Vault keeps no copy of a certificate (no_store)');
    return {
      status: 'warning',
      message: 'lets Vault keep every certificate (no_store=false), test certificates among them',
      cause:
        'one every few hours for each proxy adds up until they are tidied; what is not kept cannot be revoked in Vault',
      change: 'no_store=true',
    };
  },
};

/** The whole sentence, and the command to type. */
export function findingOfRole(verdict: RoleVerdict, { pki, role, namespace }: RoleAsked['conf']): Finding {
  const { message, cause, field, change, fix } = verdict;
  const command = change === undefined ? fix : `vault patch ${pki}/roles/${role} ${change}`;
  const isBad = verdict.status !== 'passed';
  return {
    message: isBad ? `role ${role} ${message}` : message,
    cause,
    field,
    fix: command === undefined ? undefined : inNamespace(command, namespace),
  };
}

/** Those that Vault knows; it leaves out all others, the documented role's `KeyUsageDigitalSignature` among them. */
const KEY_USAGES: ReadonlySet<string> = new Set([
  ...['digitalsignature', 'contentcommitment', 'keyencipherment', 'dataencipherment', 'keyagreement'],
  ...['certsign', 'crlsign', 'encipheronly', 'decipheronly'],
]);

const bareName = (usage: string) => usage.trim().toLowerCase();

/** Globs as Vault reads them: `*` stands for anything, `/` too. Templates are left to Vault. */
function allowsUri(allowed: readonly string[], uri: string): boolean {
  return allowed.some((glob) => glob.includes('{{') || matchesGlob(glob, uri));
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
