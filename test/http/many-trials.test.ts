import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ADAPTERS } from '../../adapters/index.ts';
import { createFakeIssuer, type FakeBackend } from '../fakes/fake-issuer.ts';
import { builtinMesh, startTestApp, type TestApp } from '../support/test-app.ts';

/** Of one Mesh. */
const MOST_BACKENDS = 64;
const MOST_WAITING = 64;

let test: TestApp;
let backend: FakeBackend;
let openGate: () => void;
/** Backends that are being tried, and the most at any time. */
let open: () => number;
let most: number;
const callers = new AbortController();
beforeEach(async () => {
  const fake = await createFakeIssuer();
  backend = fake.backend;
  open = () => backend.created - backend.closed;
  most = 0;
  const gate = new Promise<void>((resolve) => {
    openGate = resolve;
  });
  backend.onCall = async () => {
    most = Math.max(most, open());
    await gate;
  };
  test = await startTestApp({}, { adapters: { ...ADAPTERS, fake: async () => fake.module } });
});
afterEach(() => test.close());

function meshOf(name: string, count: number): object {
  const backends = Array.from({ length: count }, (_, index) => ({ name: `ext-${index}`, type: 'fake', conf: {} }));
  return builtinMesh(name, { enabledBackend: 'ext-0', backends });
}

async function until(what: () => boolean): Promise<void> {
  for (let tries = 0; tries < 400 && !what(); tries += 1) await new Promise((resolve) => setTimeout(resolve, 10));
  expect(what()).toBe(true);
}

/** Somebody who hangs up when `callers` says so. */
const call = (name: string, count: number, { signal }: { signal: AbortSignal } = callers) =>
  fetch(`${test.app.address}/_validate`, {
    ...{ method: 'POST', body: JSON.stringify(meshOf(name, count)), signal },
    headers: { 'content-type': 'application/json' },
  }).then(
    ({ status }) => status,
    () => 'gone' as const,
  );

describe('many who validate at once, with backends that hang', () => {
  it('are served a few at a time, and those who are too many are sent away at once', async () => {
    const first = call('first', MOST_BACKENDS);
    await until(() => open() === MOST_BACKENDS);
    const statuses: unknown[] = [];
    const others = Array.from({ length: MOST_WAITING + 20 }, (_, index) =>
      call(`m-${index}`, 1).then((status) => statuses.push(status)),
    );
    await until(() => statuses.length === 20);
    expect(new Set(statuses)).toEqual(new Set([429]));
    openGate();
    expect(await first).toBe(200);
    await Promise.all(others);
    expect(statuses.filter((status) => status === 200)).toHaveLength(MOST_WAITING);
    expect(most).toBe(MOST_BACKENDS);
    expect(open()).toBe(0);
  });

  it('leave nothing open when they hang up, whether they were served or waited', async () => {
    const hangUp = new AbortController();
    const calls = [0, 1, 2].map((index) => call(`m-${index}`, MOST_BACKENDS, hangUp));
    await until(() => open() === MOST_BACKENDS);
    hangUp.abort();
    expect(await Promise.all(calls)).toEqual(['gone', 'gone', 'gone']);
    await until(() => open() === 0);
    openGate();
    expect(await call('after', 2)).toBe(200);
    expect(open()).toBe(0);
  });

  it('hold up no PUT that has nothing to prove', async () => {
    const validating = call('hangs', MOST_BACKENDS);
    await until(() => open() === MOST_BACKENDS);
    expect((await test.request('PUT', '/meshes/plain', { type: 'Mesh', name: 'plain' })).status).toBe(201);
    const skipping = { ...Object(meshOf('skips', 1)).mtls, skipValidation: true };
    expect((await test.request('PUT', '/meshes/skips', builtinMesh('skips', skipping))).status).toBe(201);
    const proving = test.request('PUT', '/meshes/proves', meshOf('proves', 1));
    await until(() => open() === MOST_BACKENDS);
    openGate();
    expect([await validating, (await proving).status]).toEqual([200, 201]);
  });
});
