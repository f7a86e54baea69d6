import type { Backend } from '../backends/backend.ts';
import { ConflictError, NotSupportedError } from '../issuer/errors.ts';
import { type CaGenerations, type CallOptions, isRenewer, type Renewer } from '../issuer/issuer.ts';
import type { TrustBundle } from '../trust/trust-bundle.ts';
import { fingerprintSha256 } from '../x509/certificate.ts';
import { generationChange } from './change.ts';
import type { Effect } from './machine.ts';
import type { RotationRecord } from './rotation-record.ts';
import { backendsKeyOf, type Learnt, type Scene, type SceneOptions } from './scene.ts';

/** Asks about, or changes, the generations of the CA behind a backend. @throws NotSupportedError when it has none */
export function askRenewer(
  backend: Backend,
  work: (renewer: Renewer, options: CallOptions) => Promise<CaGenerations>,
  { signal }: CallOptions,
): Promise<CaGenerations> {
  return backend.within('certificate', { signal }, (within) =>
    backend.call(
      'renew',
      (issuer, call) => {
        if (!isRenewer(issuer)) throw new NotSupportedError('has no generations of its CA');
        return work(issuer, call);
      },
      within,
    ),
  );
}

/** Of a rotation from one generation of a builtin CA to the next: the CA itself is the truth about what was done. */
export async function readGenerationScene(
  mesh: string,
  record: RotationRecord,
  { backends }: SceneOptions,
  options: CallOptions,
): Promise<Scene> {
  const { mesh: stored, backends: live } = await backends.get(mesh);
  const { to: name } = record;
  const backend = live.get(name);
  const found = backend?.has(isRenewer)
    ? await askRenewer(backend, (ca, call) => ca.generations(call), options)
    : undefined;
  const roots = new Map(
    [found?.signing, ...(found?.others ?? [])].flatMap((der) =>
      der === undefined ? [] : [[fingerprintSha256(der), der]],
    ),
  );
  const [signing] = roots.keys();
  const [fromRoots, toRoots] = [new Set(record.fromRoots ?? []), new Set(record.toRoots ?? [])];
  const [target, old] = record.direction === 'forward' ? [toRoots, fromRoots] : [fromRoots, toRoots];
  const isThere = (generation: ReadonlySet<string>) => [...generation].some((root) => roots.has(root));
  const isOn = stored.mtls?.enabledBackend === name && signing !== undefined;
  // Before the next generation is made nothing is known of either, and the one that signs is the old one.
  const issuing = !isOn
    ? 'neither'
    : target.has(signing)
      ? 'target'
      : old.has(signing) || old.size === 0
        ? 'old'
        : 'neither';
  const hasOld = [...roots.keys()].some((root) => old.has(root));

  const ask = (work: Parameters<typeof askRenewer>[1], call: CallOptions) => {
    if (backend === undefined)
      throw new ConflictError(`backend "${name}" of mesh "${mesh}" is gone`, { fix: 'look at the mesh again' });
    return askRenewer(backend, work, call);
  };
  const actions: Readonly<Record<Effect, (call: CallOptions) => Promise<Learnt>>> = {
    async 'provide-target'(call) {
      const { signing: now, others } = await ask((ca, inner) => ca.prepareNext(inner), call);
      // Oldest first: the last one is to come, those before it have been.
      const next = others.at(-1);
      if (next === undefined)
        throw new ConflictError(`backend "${name}" of mesh "${mesh}" has made no next generation of its CA`);
      return { fromRoots: [now, ...others.slice(0, -1)].map(fingerprintSha256), toRoots: [fingerprintSha256(next)] };
    },
    async 'issue-with-target'(call) {
      const root = [...roots].find(([fingerprint]) => target.has(fingerprint))?.[1];
      if (root === undefined)
        throw new ConflictError(`the generation that backend "${name}" of mesh "${mesh}" is to sign with is gone`);
      await ask((ca, inner) => ca.signWith(root, inner), call);
      return {};
    },
    async 'remove-old'(call) {
      await ask((ca, inner) => ca.dropOthers(inner), call);
      return {};
    },
  };

  const change = (bundle: TrustBundle) => {
    const trusted = [...target].every((root) => bundle.fingerprints.has(root));
    return generationChange(name, old, target.size > 0 && trusted ? target : undefined);
  };
  const stillIn = (bundle: TrustBundle) => [...old].filter((root) => bundle.fingerprints.has(root));
  return {
    issuing,
    hasTarget: target.size > 0 && isThere(target),
    hasOld,
    backendsKey: backendsKeyOf(stored),
    // It is the CA that signs already, with another key.
    unproven: undefined,
    obstacle: undefined,
    changeIn: change,
    oldRootsIn: (bundle) => new Set(hasOld ? [] : [...old].filter((root) => !bundle.fingerprints.has(root))),
    notDropped: (bundle) => (hasOld ? [] : stillIn(bundle)),
    sideOf({ backend: of, rootHashes }) {
      if (of !== name) return undefined;
      if (rootHashes.some((root) => target.has(root))) return 'target';
      return rootHashes.every((root) => old.has(root)) ? 'old' : undefined;
    },
    beforeRemoval: () => ({}),
    carryOut: (effect, call) => actions[effect](call),
  };
}
