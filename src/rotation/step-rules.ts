import { type Blocker, RotationNotReadyError } from '../issuer/errors.ts';
import type { CallOptions } from '../issuer/issuer.ts';
import type { Store } from '../store/store.ts';
import { countText } from '../text/count-text.ts';
import { byDataplane } from './by-dataplane.ts';
import type { Fleets } from './fleets.ts';
import type { Step } from './step.ts';
import { changesOf, type StepChange } from './step-changes.ts';
import { STEP_EXCEPTIONS } from './step-exceptions.ts';
import { judge, type TooSoon } from './step-judges.ts';
import { type Look, lookAt } from './step-look.ts';

export interface StepRules {
  /**
   * Whether a Mesh may be stored now, as far as its data planes go. Reads nothing when neither `enabledBackend` nor the list of backends changes and
   * no backend has proven itself anew.
   * @throws RotationNotReadyError with everything that comes too soon: fields of the Mesh, at most 10 data planes, and the command to type
   */
  check(step: Step, options: CallOptions): Promise<void>;
}

export interface StepRulesOptions {
  readonly fleets: Pick<Fleets, 'read'>;
  readonly store: Pick<Store, 'getCertificate'>;
}

const MOST_BLOCKERS = 10;

export function createStepRules({ fleets, store }: StepRulesOptions): StepRules {
  return {
    async check(step, options) {
      const changes = changesOf(step);
      if (changes.length === 0 || STEP_EXCEPTIONS.some(({ ofStep }) => ofStep?.(step))) return;
      const look = lookAt(step, await fleets.read(step.after.name, options), store);
      const tooSoon: TooSoon[] = [];
      for (const change of changes) {
        const found = judge(look, change);
        if (found !== undefined && !(await isExcepted(look, change, options))) tooSoon.push(found);
      }
      if (tooSoon.length > 0) throw refusal(step.after.name, tooSoon);
    },
  };
}

async function isExcepted(look: Look, change: StepChange, options: CallOptions): Promise<boolean> {
  for (const { ofChange } of STEP_EXCEPTIONS) if (await ofChange?.(look, change, options)) return true;
  return false;
}

function refusal(mesh: string, tooSoon: readonly TooSoon[]): RotationNotReadyError {
  // One for each data plane: the first change that it is not ready for.
  const first = new Map<string, Blocker>();
  for (const blocker of tooSoon.flatMap(({ blockers }) => blockers)) {
    if (!first.has(blocker.dataplane)) first.set(blocker.dataplane, blocker);
  }
  const blockers = [...first.values()].sort(byDataplane);
  const named = blockers.filter(({ dataplane }) => dataplane !== '').length;
  const who =
    named === 0
      ? 'a backend is not ready'
      : `${countText(named, 'data plane')} ${named === 1 ? 'is' : 'are'} not ready`;
  return new RotationNotReadyError(`too soon for mesh "${mesh}": ${who}`, {
    violations: tooSoon.map(({ field, message }) => ({ field, message })),
    blockers: blockers.slice(0, MOST_BLOCKERS),
    blockersTotal: blockers.length,
    ...(tooSoon[0] === undefined ? {} : { fix: tooSoon[0].fix }),
  });
}
