import type { Calls } from './fault-world.ts';
import { createRequestReader, type ReadRequest } from './request-reader.ts';

export interface CallCounter {
  /** For each connection of the proxy. */
  readonly observe: () => (chunk: Buffer) => void;
  calls(): Promise<Calls>;
}

/**
 * Counts calls as they pass on plain connections, whether or not they arrive.
 * @param serviceAskedFor the service whose certificate a call asks for; undefined when it asks for none
 */
export function createCallCounter(serviceAskedFor: (request: ReadRequest) => string | undefined): CallCounter {
  const byService = new Map<string, number>();
  let issuing = 0;
  let all = 0;
  const count = (request: ReadRequest) => {
    all += 1;
    const service = serviceAskedFor(request);
    if (service === undefined) return;
    issuing += 1;
    byService.set(service, (byService.get(service) ?? 0) + 1);
  };
  return {
    observe: () => createRequestReader(count),
    calls: async () => ({ issuing, all, byService: new Map(byService) }),
  };
}
