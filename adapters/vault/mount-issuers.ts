import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import type { Certificate } from '../../src/x509/certificate.ts';
import { parseCertificates } from './chain.ts';
import type { VaultClient } from './client.ts';
import type { FailureKind, Outcome } from './failure.ts';
import type { IssuersReply } from './replies.ts';

/** Issuers of one mount that are looked at. */
const MAX_ISSUERS = 32;
const AT_ONCE = 8;
/** Failures of the list that say: this server has none, ask in the old way. */
const NO_LIST: ReadonlySet<FailureKind> = new Set(['absent', 'mount', 'denied', 'role', 'malformed']);

export interface MountIssuers {
  /**
   * The CA certificates of all issuers of the mount, each once; of a server without issuers (Vault before 1.11) the chain of the mount.
   * One call where nothing has changed: the certificate of an issuer is read once, for it never becomes another.
   * @param given by whom to ask, and the list where it is there already
   * @throws the error that a failure stands for
   */
  read(
    signal: AbortSignal,
    given?: { readonly client: VaultClient; readonly list: Outcome<IssuersReply> },
  ): Promise<readonly Certificate[]>;
}

/** The value, or a rejection with the error that the failure stands for. */
export type ToValue = <T>(outcome: Outcome<T>, signal: AbortSignal) => Promise<T>;

export interface MountIssuersOptions {
  open(signal: AbortSignal): Promise<VaultClient>;
  readonly toValue: ToValue;
  /** The issuer that the role is bound to, by name or id, where it is known. */
  issuerRef(): string | undefined;
  readonly log: IssuerDeps['log'];
}

export function createMountIssuers(pki: string, options: MountIssuersOptions): MountIssuers {
  const { open, toValue, issuerRef, log } = options;
  const known = new Map<string, readonly Certificate[]>();

  async function readNew(client: VaultClient, id: string, signal: AbortSignal): Promise<void> {
    const pem = await client.readIssuer(id, signal);
    // Deleted a moment ago.
    if (!pem.ok && pem.failure.kind === 'absent') return;
    known.set(id, parseCertificates(pki, await toValue(pem, signal)));
  }

  return {
    async read(signal, given) {
      const client = given?.client ?? (await open(signal));
      const list = given?.list ?? (await client.listIssuers(signal));
      if (!hasIssuers(list)) return parseCertificates(pki, await toValue(await client.readCaChain(signal), signal));
      const told = await toValue(list, signal);
      const ids = chooseIssuers(told, issuerRef() ?? 'default');
      const count = told.keys.length;
      if (ids.length < count) {
        log.warn({ pki, count, used: ids.length }, 'the mount has more issuers than are looked at: delete old ones');
      }
      for (const id of known.keys()) if (!ids.includes(id)) known.delete(id);
      const unknown = ids.filter((id) => !known.has(id));
      for (let from = 0; from < unknown.length; from += AT_ONCE) {
        await Promise.all(unknown.slice(from, from + AT_ONCE).map((id) => readNew(client, id, signal)));
      }
      const all = [...known.values()].flat();
      return all.filter((ca, index) => all.findIndex(({ der }) => der.equals(ca.der)) === index);
    },
  };
}

function hasIssuers(list: Outcome<IssuersReply>): boolean {
  return list.ok ? list.value.keys.length > 0 : !NO_LIST.has(list.failure.kind);
}

/** The role's and the default one first: those that sign now must never be among what is cut off. */
function chooseIssuers({ keys, key_info: info }: IssuersReply, ref: string): readonly string[] {
  const rank = (id: string) => {
    if (id === ref || (info?.[id]?.issuer_name ?? '') === ref) return 0;
    return info?.[id]?.is_default === true ? 1 : 2;
  };
  return [...keys].sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1)).slice(0, MAX_ISSUERS);
}
