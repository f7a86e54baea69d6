import { type CallCounter, createCallCounter } from './call-counter.ts';
import { MESH } from './fault-world.ts';

const ISSUING = /^\/v1\/[^/]+\/(sign|issue)\/[^/]+$/;
const SAN = new RegExp(`spiffe://${MESH}/([^"/]+)"`);

/** Calls of Vault's API. A request to `sign` without names only asks whether it might. */
export function createVaultCallCounter(): CallCounter {
  return createCallCounter(({ path, body }) => (ISSUING.test(path) ? SAN.exec(body)?.[1] : undefined));
}
