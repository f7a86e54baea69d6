import type { Blocker, Violation } from '../issuer/errors.ts';
import type { CertificateHolder } from '../store/store.ts';
import { countText } from '../text/count-text.ts';
import { fingerprintSha256 } from '../x509/certificate.ts';
import { fingerprintsOf } from './change.ts';
import { measure } from './measure.ts';
import type { Readiness } from './readiness.ts';
import type { StepChange } from './step-changes.ts';
import { STEP_EXCEPTIONS } from './step-exceptions.ts';
import type { Look } from './step-look.ts';

/** A change that would break connections now. */
export interface TooSoon extends Violation {
  readonly blockers: readonly Blocker[];
  /** What to do, with the command to type. */
  readonly fix: string;
}

type Of<K extends StepChange['kind']> = Extract<StepChange, { readonly kind: K }>;

/** Undefined: nothing would break. */
export function judge(look: Look, change: StepChange): TooSoon | undefined {
  switch (change.kind) {
    case 'switch':
      return judgeSwitch(look, change);
    case 'replace':
      return judgeReplacement(look, change);
    case 'remove':
      return judgeRemoval(look, change);
  }
}

/** A certificate of the new backend is of use once everybody who is online trusts it. */
function judgeSwitch(look: Look, { from, to }: Of<'switch'>): TooSoon | undefined {
  const { online, notTrusting } = measureTrust(look, to);
  if (online === 0 || notTrusting.length === 0) return undefined;
  const { name } = look.step.after;
  const isListed = look.step.before.mtls?.backends.some((backend) => backend.name === to) === true;
  const [first] = notTrusting;
  const joins = !isListed && first?.dataplane === '' ? first : undefined;
  return {
    field: 'mtls.enabledBackend',
    message: `cannot be "${to}" yet: ${joins === undefined ? trustWords(notTrusting, online) : `it only joins the mesh now, so none of ${countText(online, 'online data plane')} can trust it`}`,
    blockers:
      joins === undefined
        ? notTrusting
        : [{ ...joins, waitingFor: `backend "${to}" to be in the mesh while "${from}" is still enabled` }],
    fix: isListed
      ? `mesh-ca rotate ${name} --to ${to} waits for them and then switches; or mesh-ca rotate ${name} shows who is not ready: apply again when nobody is left`
      : `apply the Mesh with "${to}" in mtls.backends and enabledBackend still "${from}" first; then mesh-ca rotate ${name} --to ${to}`,
  };
}

/** The same for a backend that goes on under its name with another CA. */
function judgeReplacement(look: Look, { backend, index }: Of<'replace'>): TooSoon | undefined {
  if (keepsItsCa(look, backend)) return undefined;
  const { online, notTrusting } = measureTrust(look, backend);
  if (online === 0 || notTrusting.length === 0) return undefined;
  const { name } = look.step.after;
  return {
    field: `mtls.backends[${index}].conf`,
    message: `backend "${backend}" cannot get another CA yet: ${trustWords(notTrusting, online)}`,
    blockers: notTrusting,
    fix: `leave "${backend}" as it is and apply the Mesh with a further backend that has the new conf; then mesh-ca rotate ${name} --to that backend`,
  };
}

/** A root may go when nobody presents a certificate under it any more, or could. */
function judgeRemoval(look: Look, { backend, index, to }: Of<'remove'>): TooSoon | undefined {
  const isOld = (certificate: CertificateHolder) =>
    certificate.backend === backend && !STEP_EXCEPTIONS.some(({ ofCertificate }) => ofCertificate?.(look, certificate));
  const { notSwitched, offlineOld } = measure(look.fleet, { from: backend, to, toRoots: new Set(), isOld }, {});
  const offline = STEP_EXCEPTIONS.some(({ ofOffline }) => ofOffline?.(look.step)) ? [] : offlineOld;
  const blockers = [...notSwitched, ...offline];
  if (blockers.length === 0) return undefined;
  const { name } = look.step.after;
  const [offlineWords, forceWords] =
    offline.length === 0
      ? ['', '']
      : [
          `, ${offline.length} of them offline`,
          '; mesh-ca apply -f FILE --force does not wait for those that are offline',
        ];
  return {
    field: `mtls.backends[${index}]`,
    message: `backend "${backend}" cannot be removed yet: ${countText(blockers.length, 'data plane')} may still need it${offlineWords}`,
    blockers,
    fix: `mesh-ca rotate ${name} shows who still needs "${backend}": apply again when nobody is left${forceWords}`,
  };
}

/**
 * Whether the backend issues under what it issued under before: all that it has in the bundle, or what certificates of it stand under. A root that is
 * in the bundle and neither may be one that has only just joined.
 */
function keepsItsCa(look: Look, backend: string): boolean {
  const proven = new Set(provenOf(look, backend));
  const told = fingerprintsOf(look.fleet.bundle, backend);
  if (told === undefined || ![...proven].every((root) => told.has(root))) return false;
  const own = look.fleet.members.filter(({ certificate }) => certificate?.backend === backend);
  const standing = new Set(own.flatMap(({ certificate }) => certificate?.rootHashes ?? []));
  return told.size === proven.size || [...proven].every((root) => standing.has(root));
}

/** Who trusts what a backend signs: under the roots that it has in the bundle, and under those that it has just proven. */
function measureTrust(look: Look, backend: string): Readiness {
  const { fleet } = look;
  const proven = provenOf(look, backend);
  const told = fingerprintsOf(fleet.bundle, backend) ?? [];
  const toRoots = new Set([...told, ...proven]);
  const change = { from: backend, to: backend, toRoots: toRoots.size === 0 ? undefined : toRoots, isOld: () => false };
  return measure(fleet, change, {});
}

/** SHA-256 (hex) of the roots of its test certificate; empty when it was not proven now. */
function provenOf({ step }: Look, backend: string): readonly string[] {
  return step.provenRoots.get(backend)?.map(fingerprintSha256) ?? [];
}

function trustWords(notTrusting: readonly Blocker[], online: number): string {
  const all = countText(online, 'online data plane');
  if (notTrusting[0]?.dataplane === '') return `its roots are not known yet, so none of ${all} can trust it`;
  return `${notTrusting.length} of ${all} ${notTrusting.length === 1 ? 'does' : 'do'} not trust it`;
}
