import { type Calls, MESH } from './fault-world.ts';
import { createRequestReader, type ReadRequest } from './request-reader.ts';

const ISSUING = /^\/v1\/[^/]+\/(sign|issue)\/[^/]+$/;
const SAN = new RegExp(`spiffe://${MESH}/([^"/]+)"`);

/** Counts calls of Vault's API on plain connections, as they pass. */
export function createVaultCalls(): {
  readonly observe: () => (chunk: Buffer) => void;
  readonly calls: () => Promise<Calls>;
} {
  const requests: ReadRequest[] = [];
  return {
    observe: () => createRequestReader((request) => void requests.push(request)),
    async calls() {
      const byService = new Map<string, number>();
      let issuing = 0;
      for (const { path, body } of requests) {
        // Without names it only asks whether it might.
        const service = ISSUING.test(path) ? SAN.exec(body)?.[1] : undefined;
        if (service === undefined) continue;
        issuing += 1;
        byService.set(service, (byService.get(service) ?? 0) + 1);
      }
      return { issuing, all: requests.length, byService };
    },
  };
}
