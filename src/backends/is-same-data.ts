/** Whether a secret is still what somebody has read. Undefined: there is none. */
export function isSameData(found: Buffer | undefined, before: Buffer | undefined): boolean {
  return found === undefined || before === undefined ? found === before : found.equals(before);
}
