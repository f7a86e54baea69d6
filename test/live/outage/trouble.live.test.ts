import { describe, expect, it } from 'vitest';
import { ask, askAgainAndAgain, BACKEND, namesOf, ok, sleep } from './ask-service.ts';
import { createStage } from './stage.ts';

/** Let go before the tenth failure is heard, and then one at a time. */
const MOST_AT_ONCE = 40;

const stage = createStage();
const { start, callsOf, breakerOf, askAll } = stage;

describe('a backend that fails', () => {
  it('for some data planes only goes on for all others, and those ask no more than their back-off allows', async () => {
    const mesh = 'picky';
    await start(mesh);
    const role = `pki-${mesh}/roles/dataplane-proxies`;
    const { data } = Object(await stage.vault.bao.must('GET', role));
    await stage.vault.bao.must('POST', role, { ...data, allowed_uri_sans: `spiffe://${mesh}/good*,kuma://*` });
    const startMs = performance.now();
    const goesOn = () => performance.now() - startMs < 2_200;
    let good = 0;
    const bad = namesOf('bad', 15);
    await Promise.all([
      askAgainAndAgain(
        bad,
        async (name) => expect((await ask(stage.service, mesh, name, { csr: stage.csr })).status).toBeGreaterThan(399),
        goesOn,
        8,
      ),
      askAgainAndAgain(
        ['good'],
        async () => expect((await ask(stage.service, mesh, `good-${good++}`, { csr: stage.csr })).status).toBe(201),
        goesOn,
        2,
      ),
    ]);
    const calls = callsOf(mesh, startMs) - good;
    process.stdout.write(`${JSON.stringify({ good, bad: calls })}\n`);
    // At once, after 0.75 s to 1 s, and not before another 1.5 s to 2 s.
    expect(calls).toBeLessThanOrEqual(2 * bad.length);
    expect(await breakerOf(mesh)).toBe(0);
  });

  it('is well again at once when the operator has given back its rights and validates it', async () => {
    const mesh = 'denied';
    await start(mesh);
    const policy = `kmesh-default-dataplane-proxies-sign-pki-${mesh}-dataplane-proxies`;
    const { data } = Object(await stage.vault.bao.must('GET', `sys/policies/acl/${policy}`));
    await stage.vault.bao.must('PUT', `sys/policies/acl/${policy}`, {
      policy: 'path "nothing" { capabilities = ["read"] }',
    });
    const refused = await askAll(mesh, namesOf('web', 12));
    expect(new Set(refused.map(({ json }) => json.code))).toEqual(new Set(['ERR_ISSUER_DENIED']));
    expect(await breakerOf(mesh)).toBeGreaterThan(0);
    expect((await ok(stage.service, 'POST', `/meshes/${mesh}/_backends/${BACKEND}/_validate`)).json.ok).toBe(false);
    expect(await breakerOf(mesh)).toBeGreaterThan(0);

    await stage.vault.bao.must('PUT', `sys/policies/acl/${policy}`, { policy: data.policy });
    expect((await ok(stage.service, 'POST', `/meshes/${mesh}/_backends/${BACKEND}/_validate`)).json.ok).toBe(true);
    expect(await breakerOf(mesh)).toBe(0);
    for (const { status } of await askAll(mesh, namesOf('web', 12))) expect(status).toBe(201);
  });

  it('that flaps every second is not flooded, and everybody is served in the end', async () => {
    const mesh = 'flapping';
    await start(mesh);
    const names = namesOf('web', 100);
    const served = new Set<string>();
    const startMs = performance.now();
    let isOver = false;
    const asking = askAgainAndAgain(
      names,
      async (name) => {
        if (served.has(name)) return sleep(5);
        const { json } = await ask(stage.service, mesh, name, { csr: stage.csr, force: true });
        // Only the last unsealing counts.
        if (isOver && String(json.outcome) === 'issued') served.add(name);
        return undefined;
      },
      () => served.size < names.length && performance.now() - startMs < 12_000,
      12,
    );
    const inVain: number[] = [];
    for (let index = 0; index < 3; index += 1) {
      await stage.vault.bao.seal();
      const sealedMs = performance.now();
      await sleep(600);
      inVain.push(callsOf(mesh, sealedMs));
      await stage.vault.bao.unseal();
      await sleep(600);
    }
    const flappedMs = performance.now();
    isOver = true;
    await asking;
    process.stdout.write(`${JSON.stringify({ inVain, servedAfter: performance.now() - flappedMs })}\n`);
    expect(Math.max(...inVain)).toBeLessThanOrEqual(MOST_AT_ONCE);
    expect(served.size).toBe(names.length);
  });
});
