import type { Fleet } from './fleet.ts';

/**
 * How many could take this version of the bundle now and have not: they are heard of, and have said before which one they hold. Of those that never say
 * it nothing can be waited for.
 */
export function countLacking({ members }: Fleet, version: number): number {
  return members.filter(
    ({ online, unheard, heldVersion }) => online && !unheard && heldVersion !== undefined && heldVersion < version,
  ).length;
}
