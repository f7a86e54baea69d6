import { enabledBackendOf, type Mtls } from '../mesh/mtls.ts';
import type { Step } from './step.ts';

/** Something in a Mesh that is to be stored by which connections could break. */
export type StepChange =
  /** Another backend issues. */
  | { readonly kind: 'switch'; readonly from: string; readonly to: string }
  /** A backend leaves the list. `index`: its place in the Mesh that is stored. `to`: the backend that issues from now on. */
  | { readonly kind: 'remove'; readonly backend: string; readonly index: number; readonly to: string }
  /** The backend that issues stays, and has just proven itself with a CA that may be another. `index`: its place in the Mesh that comes. */
  | { readonly kind: 'replace'; readonly backend: string; readonly index: number };

/** What a step changes, looking at nothing but the two Meshes; empty for almost every PUT. */
export function changesOf({ before, after, provenRoots }: Step): readonly StepChange[] {
  const [from, to] = [enabledBackendOf(before.mtls)?.name, enabledBackendOf(after.mtls)?.name];
  if (from === undefined || to === undefined) return [];
  const left = namesOf(after.mtls);
  const changes: StepChange[] = [];
  if (from !== to) changes.push({ kind: 'switch', from, to });
  else if ((provenRoots.get(to) ?? []).length > 0) {
    changes.push({ kind: 'replace', backend: to, index: left.indexOf(to) });
  }
  for (const [index, backend] of namesOf(before.mtls).entries()) {
    if (!left.includes(backend)) changes.push({ kind: 'remove', backend, index, to });
  }
  return changes;
}

function namesOf(mtls: Mtls | undefined): readonly string[] {
  return mtls?.backends.map(({ name }) => name) ?? [];
}
