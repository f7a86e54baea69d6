import { CaError } from '../../src/issuer/errors.ts';
import { countText } from '../../src/text/count-text.ts';
import type { Certificate } from '../../src/x509/certificate.ts';
import { isRoot } from '../shared/ca-certificates.ts';
import { checkCaLife } from '../shared/ca-life.ts';
import { attempt, type Checks, type Finding } from '../shared/checks.ts';
import { findPath } from '../shared/issued-certificate.ts';
import { bundleOf, incompleteChain, parseCertificates } from './chain.ts';
import type { VaultConf } from './config.ts';
import { ISSUER_USAGE, makeCa, renewCa } from './error-rules.ts';
import { type Outcome, toError } from './failure.ts';
import { findingOf } from './finding-of.ts';
import { inNamespace } from './in-namespace.ts';
import type { Inspected, RoleState, Ways } from './inspected.ts';
import type { IssuersReply } from './replies.ts';

/** What everybody may read of a mount. */
export interface MountFacts {
  readonly list: Outcome<IssuersReply>;
  /** PEM of the chain of the default issuer. */
  readonly chain: Outcome<string>;
  /** Of all issuers; the error that reading them ended with. */
  readonly cas: readonly Certificate[] | CaError;
}

export async function gatherMount({ client, issuers, signal }: Ways): Promise<MountFacts> {
  const [list, chain] = await Promise.all([client.listIssuers(signal), client.readCaChain(signal)]);
  const cas =
    list.ok || chain.ok ? attempt(() => issuers.read(signal, { client, list }), signal) : toError(chain.failure);
  return { list, chain, cas: await cas };
}

/** Whether there is a PKI mount that tells its CAs. */
export function tellMount({ pki }: VaultConf, { list, chain, cas }: MountFacts, checks: Checks): boolean {
  // A path that is not there at all belongs to another kind of mount.
  const isEmpty = !chain.ok && chain.failure.kind === 'absent' && chain.failure.status !== 404;
  if (!list.ok && !chain.ok && !isEmpty) {
    const { failure } = chain;
    checks.fail('mount-readable', findingOf(failure, failure.kind === 'mount' ? 'fromCp.pki' : undefined));
    return false;
  }
  if (cas instanceof CaError && !isEmpty) {
    checks.fail('mount-readable', cas);
    return false;
  }
  const count = cas instanceof CaError ? 0 : cas.length;
  checks.pass('mount-readable', `mount ${pki} tells ${countText(count, 'CA certificate')}`);
  return true;
}

/** Whether the issuer that signs can do so, and what it signs with leads to a root that is alive. */
export async function tellCas(
  ways: Ways,
  facts: MountFacts,
  state: RoleState | undefined,
  checks: Checks,
): Promise<void> {
  const { conf, mesh, clock } = ways;
  const ref = state?.role?.ok === true ? state.role.value.issuer_ref : 'default';
  const fault = findIssuerFault(ways, facts, ref, state);
  if (fault !== undefined) {
    checks.fail('issuer-signs', { ...fault, retry: false });
    return;
  }
  const { cas } = facts;
  checks.pass('issuer-signs', `mount ${conf.pki} has the issuer ${ref}`);
  const signer = await readSigner(ways, facts, ref);
  if (signer === undefined || cas instanceof CaError) {
    const why = `the certificate of issuer ${ref} could not be read`;
    checks.skip('ca-valid', why);
    checks.skip('root-known', why);
    return;
  }
  const path = isRoot(signer) ? { chain: [], roots: [] } : findPath(signer, cas);
  const above = path === undefined ? [] : [...path.chain, ...path.roots];
  checkCaLife(checks, [signer, ...above], clock.now(), inNamespace(renewal(ways, ref, signer), conf.namespace));
  const bundle = await attempt(() => bundleOf(conf.pki, cas), ways.signal);
  if (bundle instanceof CaError) checks.fail('root-known', bundle);
  else if (path === undefined) checks.fail('root-known', incompleteChain(conf.pki, signer, cas));
  else checks.pass('root-known', `the chain of ${mesh} ends in "${(path.roots[0] ?? signer).subject}"`);
}

function findIssuerFault(
  { conf, mesh, clock }: Inspected,
  { list, chain }: MountFacts,
  ref: string,
  state: RoleState | undefined,
): Finding | undefined {
  const { pki, namespace } = conf;
  const say = (message: string, fix: string) => ({ message, fix: inNamespace(fix, namespace) });
  const keys = list.ok ? list.value.keys : [];
  if (keys.length === 0 && !chain.ok) {
    return say(`mount ${pki} has no CA`, `${makeCa({ pki, mesh })}; or import one (intermediate/set-signed)`);
  }
  // Vault before 1.11 knows of no issuers.
  if (!list.ok || keys.length === 0) return undefined;
  const info = list.value.key_info ?? {};
  const id = idOf(list.value, ref);
  const able = keys.find((other) => other !== id && (info[other]?.key_id ?? '') !== '');
  const useIssuer = (issuer: string) => choice(conf, ref, issuer);
  const another = able === undefined ? renewCa({ pki, mesh }, clock.now(), useIssuer) : useIssuer(able);
  if (id === undefined) return say(`mount ${pki} has no issuer ${ref}, and so no CA to sign with`, another);
  if (info[id]?.key_id === '') return say(`issuer ${ref} of mount ${pki} has no key: it cannot sign`, another);
  if (state?.issuer?.revoked === true) return say(`issuer ${ref} of mount ${pki} is revoked`, another);
  const usage = state?.issuer?.usage;
  if (usage !== undefined && !usage.split(',').includes('issuing-certificates')) {
    return say(
      `issuer ${ref} of mount ${pki} cannot sign: it lacks the usage issuing-certificates`,
      `vault patch ${pki}/issuer/${ref} ${ISSUER_USAGE}`,
    );
  }
  return undefined;
}

function idOf({ keys, key_info: info }: IssuersReply, ref: string): string | undefined {
  return keys.find(
    (id) =>
      id === ref || (info?.[id]?.issuer_name ?? '') === ref || (ref === 'default' && info?.[id]?.is_default === true),
  );
}

/** The certificate that the role's certificates are signed with. */
async function readSigner(
  { conf, client, signal }: Ways,
  { list, chain }: MountFacts,
  ref: string,
): Promise<Certificate | undefined> {
  const id = list.ok ? idOf(list.value, ref) : undefined;
  const isDefault =
    ref === 'default' || id === undefined || (list.ok && list.value.key_info?.[id]?.is_default === true);
  const pem = isDefault ? chain : await client.readIssuer(id, signal);
  if (!pem.ok) return undefined;
  const read = await attempt(() => parseCertificates(conf.pki, pem.value), signal);
  return read instanceof CaError ? undefined : read[0];
}

/** The command that makes an issuer, by name or id, the one that signs in the place of `ref`. */
function choice({ pki, role }: VaultConf, ref: string, issuer: string): string {
  return ref === 'default'
    ? `vault write ${pki}/config/issuers default=${issuer}`
    : `vault patch ${pki}/roles/${role} issuer_ref=${issuer}`;
}

function renewal({ conf, mesh }: Inspected, ref: string, signer: Certificate): string {
  const { pki } = conf;
  if (isRoot(signer)) return renewCa({ pki, mesh }, signer.notAfter, (name) => choice(conf, ref, name));
  return `vault write -field=csr ${pki}/intermediate/generate/internal common_name="${mesh} intermediate" uri_sans=spiffe://${mesh}; have that signed by the root, give it back by ${pki}/intermediate/set-signed, and use it: ${choice(conf, ref, '<issuer>')}`;
}
