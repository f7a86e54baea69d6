import { expect, it } from 'vitest';
import { Overviews } from '../../src/resources/overview.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { createMemoryStore } from '../../src/store/memory/memory-store.ts';
import type { Store } from '../../src/store/store.ts';

/** A store that counts its calls by name. */
function counted(store: Store): { readonly store: Store; readonly calls: Record<string, number> } {
  const calls: Record<string, number> = {};
  return {
    calls,
    store: new Proxy(store, {
      get(target, name: keyof Store) {
        calls[name] = (calls[name] ?? 0) + 1;
        return target[name];
      },
    }),
  };
}

it('one data plane, known or not, and a page of them are read without reading the whole mesh', async () => {
  const memory = createMemoryStore({ clock: systemClock });
  for (const name of ['a', 'b', 'c']) {
    await memory.putResource({ type: 'Dataplane', mesh: 'm', name, body: '{"networking":{}}' });
  }
  const { store, calls } = counted(memory);
  const overviews = new Overviews({
    store,
    clock: systemClock,
    onlineForMs: 1,
    lastSeen: () => undefined,
    zoneName: 'zone',
  });
  const page = await memory.listResources({ type: 'Dataplane', mesh: 'm', size: 2 });
  expect(await overviews.unregistered('m', 'none')).toBeUndefined();
  expect(await overviews.many(page.items)).toHaveLength(2);
  expect(await overviews.listUnregistered('m', page)).toEqual([]);
  expect(calls).toEqual({ getCertificate: 3, getTrustStatement: 2, listCertificates: 1 });
  await memory.close();
});
