import { setMaxListeners } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { calm, fakeMtls, type ProofWorld, startProofWorld } from './proof-world.ts';

let world: ProofWorld;
beforeEach(async () => {
  world = await startProofWorld();
  await world.putMesh('default');
});
afterEach(() => world.close());

/** Lets the next proofs hang until `open` is called; honours signals only when told to. */
function gate(honoursSignal = true): { open(): void } {
  let open = () => {};
  const opened = new Promise<true>((resolve) => {
    open = () => resolve(true);
  });
  world.play = (_backend, { signal }) =>
    honoursSignal
      ? Promise.race([
          opened,
          new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
        ])
      : opened;
  return { open: () => open() };
}

const rows = async () => (await world.store.listResources({ type: 'BackendProof' })).items;

describe('proofs of one backend', () => {
  it('are one for all who ask at the same time, and another one later', async () => {
    const backend = await world.backend('default');
    const { open } = gate();
    const asked = Array.from({ length: 5 }, () => world.proofs.prove(backend, calm()));
    await world.settle();
    open();
    const [first, ...others] = await Promise.all(asked);
    for (const other of others) expect(other).toBe(first);
    expect(world.begun).toHaveLength(1);
    await world.proofs.prove(backend, calm());
    expect(world.begun).toHaveLength(2);
  });

  it('go on for the others when one gives up', async () => {
    const backend = await world.backend('default');
    const { open } = gate();
    const leaver = new AbortController();
    const left = world.proofs.prove(backend, { signal: leaver.signal });
    const stays = world.proofs.prove(backend, calm());
    await world.settle();
    leaver.abort(new Error('has no time'));
    await expect(left).rejects.toThrow('has no time');
    open();
    expect((await stays).ok).toBe(true);
  });

  it('end when nobody waits any more, and the next one begins anew', async () => {
    const backend = await world.backend('default');
    gate();
    const leaver = new AbortController();
    const left = world.proofs.prove(backend, { signal: leaver.signal });
    await world.settle();
    expect(world.running).toBe(1);
    leaver.abort(new Error('has no time'));
    await expect(left).rejects.toThrow('has no time');
    await world.settle();
    expect([world.running, world.clock.pending]).toEqual([0, 0]);
    world.play = () => true;
    expect((await world.proofs.prove(backend, calm())).ok).toBe(true);
  });

  it('are not begun for who has given up already', async () => {
    const backend = await world.backend('default');
    await expect(world.proofs.prove(backend, { signal: AbortSignal.abort(new Error('gone')) })).rejects.toThrow('gone');
    expect(world.begun).toEqual([]);
  });
});

describe('proofs of many backends', () => {
  const names = Array.from({ length: 12 }, (_, index) => `ca-${index}`);
  const askAll = async () => {
    await world.putMesh('many', fakeMtls('fake', {}, names));
    const all = await Promise.all(names.map((name) => world.backend('many', name)));
    return all.map((backend) => world.proofs.prove(backend, calm()));
  };

  it('are at most 8 at once, and all have their turn', async () => {
    const { open } = gate();
    const asked = await askAll();
    await world.settle();
    expect(world.running).toBe(8);
    open();
    expect((await Promise.all(asked)).every(({ ok }) => ok)).toBe(true);
    expect(new Set(world.begun.map(({ what }) => what)).size).toBe(12);
  });

  it('that do not come to their turn are told when to ask again', async () => {
    gate(false);
    const asked = await askAll();
    for (const one of asked) one.catch(() => {});
    await world.pass(20_000);
    await expect(asked.at(-1)).rejects.toMatchObject({ code: 'ERR_ISSUER_RATE_LIMITED', retryAfterMs: 20_000 });
    expect(world.begun).toHaveLength(8);
  });

  it('that hang for ever give their place back', async () => {
    gate(false);
    const asked = await askAll();
    for (const one of asked) one.catch(() => {});
    await world.pass(30_000);
    await expect(asked[0]).rejects.toMatchObject({ code: 'ERR_ISSUER_UNAVAILABLE', retry: true });
    world.play = () => true;
    const backend = await world.backend('default');
    expect((await world.proofs.prove(backend, calm())).ok).toBe(true);
    expect(world.clock.pending).toBe(0);
  });

  it('leave the line when they give up, so that it moves on', async () => {
    const { open } = gate();
    const leaver = new AbortController();
    setMaxListeners(0, leaver.signal);
    const more = Array.from({ length: 20 }, (_, index) => `ca-${index}`);
    await world.putMesh('many', fakeMtls('fake', {}, more));
    const all = await Promise.all(more.map((name) => world.backend('many', name)));
    const asked = all.map((backend, index) =>
      world.proofs.prove(backend, index < 9 ? calm() : { signal: leaver.signal }),
    );
    for (const one of asked) one.catch(() => {});
    await world.settle();
    leaver.abort(new Error('gone'));
    await expect(asked[10]).rejects.toThrow('gone');
    open();
    await Promise.all(asked.slice(0, 9));
    await world.settle();
    expect(world.begun).toHaveLength(9);
    // Eleven have left: were one place lost to each, there would be none any more.
    expect((await world.proofs.prove(await world.backend('default'), calm())).ok).toBe(true);
  });
});

describe('the last proof', () => {
  it('is remembered for the conf that it is about', async () => {
    const backend = await world.backend('default');
    expect(world.proofs.latest(backend)).toBeUndefined();
    const proof = await world.proofs.prove(backend, calm());
    expect(world.proofs.latest(backend)).toBe(proof);
    await world.putMesh('default', fakeMtls('fake', { other: true }));
    expect(world.proofs.latest(await world.backend('default'))).toBeUndefined();
  });

  it('is there after a restart, as it was', async () => {
    world.play = () => ['fake.login'];
    const proof = await world.proofs.prove(await world.backend('default'), calm());
    world = await world.restart();
    expect(world.proofs.latest(await world.backend('default'))).toEqual(proof);
    expect(world.begun).toEqual([]);
  });

  it('belongs to its mesh and goes with it', async () => {
    await world.proofs.prove(await world.backend('default'), calm());
    await world.settle();
    expect((await rows()).map(({ mesh, name, owned }) => [mesh, name, owned])).toEqual([['default', 'ca', true]]);
    await world.store.deleteMesh('default');
    expect(await rows()).toEqual([]);
  });

  it('of a mesh that is gone is dropped', async () => {
    const backend = await world.backend('default');
    await world.store.deleteMesh('default');
    world.proofs.note(world.proofOf(backend));
    await world.settle();
    expect([await rows(), world.proofs.latest(backend)]).toEqual([[], undefined]);
    expect(world.lines.filter(({ level }) => level !== 'debug')).toEqual([]);
  });

  it('of a backend that was changed meanwhile is told, but not kept', async () => {
    const backend = await world.backend('default');
    const { open } = gate();
    const asked = world.proofs.prove(backend, calm());
    await world.settle();
    await world.putMesh('default', fakeMtls('fake', { other: true }));
    const changed = await world.backend('default');
    open();
    expect((await asked).ok).toBe(true);
    await world.settle();
    expect([world.proofs.latest(backend), world.proofs.latest(changed), await rows()]).toEqual([
      undefined,
      undefined,
      [],
    ]);
    expect(world.told).toEqual([]);
  });

  it('that cannot be written is used all the same, and the failure logged', async () => {
    const backend = await world.backend('default');
    world.store.putResource = () => Promise.reject(new Error('the disk is full'));
    const proof = await world.proofs.prove(backend, calm());
    await world.settle();
    expect(world.proofs.latest(backend)).toBe(proof);
    expect(world.lines).toMatchObject([
      {
        level: 'warn',
        message: 'what is known of a backend was not stored',
        resource: 'BackendProof',
        mesh: 'default',
      },
    ]);
  });

  it.each([
    ['no JSON', '{'],
    ['of another shape', '{"ok": "yes"}'],
    ['with a time that is none', JSON.stringify({ provenAt: 'yesterday' })],
  ])('that is stored as something %s is passed over', async (_name, body) => {
    const key = { type: 'BackendProof', mesh: 'default', name: 'ca' };
    await world.store.putResource({ ...key, body, owned: true });
    world = await world.restart();
    expect(world.proofs.latest(await world.backend('default'))).toBeUndefined();
    expect(world.lines).toMatchObject([{ level: 'warn', unread: 1 }]);
  });

  it.each(['at once', 'after a restart'])('of a backend that its mesh no longer has is removed, %s', async (when) => {
    await world.putMesh('two', fakeMtls('fake', {}, ['a', 'b']));
    for (const name of ['a', 'b']) await world.proofs.prove(await world.backend('two', name), calm());
    await world.settle();
    if (when === 'after a restart') world = await world.restart();
    world.proofs.keepOnly('two', new Set(['a']));
    await world.settle();
    expect((await rows()).map(({ name }) => name)).toEqual(['a']);
  });

  it('is the one that is stored when several are made faster than the store writes', async () => {
    const backend = await world.backend('default');
    const { putResource } = world.store;
    world.store.putResource = async (...call) => {
      await world.clock.sleep(1000);
      return putResource(...call);
    };
    for (const verdict of [true, ['fake.login'], ['fake.role']] as const) {
      world.play = () => verdict;
      await world.proofs.prove(backend, calm());
    }
    await world.pass(2000);
    const [row] = await rows();
    expect(row?.version).toBe(2);
    expect(row?.body).toContain('fake.role');
  });
});

describe('a proof is told', () => {
  it('to who closes breakers, whether it passed or not', async () => {
    const backend = await world.backend('default');
    await world.proofs.prove(backend, calm());
    world.play = () => ['fake.login'];
    await world.proofs.prove(backend, calm());
    expect(world.told).toEqual([
      { what: 'default/ca', ok: true },
      { what: 'default/ca', ok: false },
    ]);
  });

  it('to the log only when something has changed', async () => {
    const backend = await world.backend('default');
    for (const verdict of [true, true, ['fake.login'], ['fake.login'], true, true] as const) {
      world.play = () => verdict;
      await world.proofs.prove(backend, calm());
    }
    expect(world.lines).toMatchObject([
      {
        level: 'warn',
        message: 'backend does not prove itself',
        ...{ mesh: 'default', backend: 'ca', type: 'fake' },
        failed: [{ name: 'fake.login', message: 'fake.login is failed' }],
      },
      { level: 'info', message: 'backend proves itself again', mesh: 'default', backend: 'ca' },
    ]);
  });
});

describe('the unproven', () => {
  it('are the enabled backends whose last proof is missing or failed', async () => {
    await world.putMesh('a-off', { backends: [{ name: 'ca', type: 'fake', conf: {} }] });
    await world.putMesh('b-none');
    await world.putMesh('c-failed', fakeMtls('fake', {}, ['ca', 'other']));
    await world.putMesh('d-well');
    await world.putMesh('e-gone', fakeMtls('unknown'));
    await world.store.putResource({ type: 'Mesh', mesh: '', name: 'f-old', body: '{"mtls": {"backends": 5}}' });
    world.proofs.note(world.proofOf(await world.backend('c-failed'), ['fake.login', 'fake.role']));
    for (const mesh of ['d-well', 'default']) world.proofs.note(world.proofOf(await world.backend(mesh)));
    expect(await world.proofs.unproven()).toEqual({
      total: 4,
      unproven: [
        { mesh: 'b-none', backend: 'ca', type: 'fake', reason: 'not proven yet' },
        { mesh: 'c-failed', backend: 'ca', type: 'fake', reason: 'fake.login' },
        { mesh: 'e-gone', backend: 'ca', type: 'unknown', reason: 'its configuration cannot be used' },
        { mesh: 'f-old', backend: '', type: '', reason: 'the stored mesh cannot be read' },
      ],
    });
  });

  it('are a hundred at most, and counted all', async () => {
    for (let index = 0; index < 120; index += 1) await world.putMesh(`m-${index}`);
    const { unproven, total } = await world.proofs.unproven();
    expect([unproven.length, total]).toEqual([100, 121]);
  });

  it('are looked up once a second at most, and anew after a proof', async () => {
    let reads = 0;
    const { listResources } = world.store;
    world.store.listResources = (query) => {
      reads += 1;
      return listResources(query);
    };
    for (let count = 0; count < 50; count += 1) await world.proofs.unproven();
    expect(reads).toBe(1);
    world.clock.advance(1000);
    expect((await world.proofs.unproven()).total).toBe(1);
    await world.proofs.prove(await world.backend('default'), calm());
    expect((await world.proofs.unproven()).total).toBe(0);
    expect(reads).toBe(3);
  });

  it('are an error while the store does not answer, and are told again after', async () => {
    const { listResources } = world.store;
    world.store.listResources = () => Promise.reject(new Error('locked'));
    await expect(world.proofs.unproven()).rejects.toThrow('locked');
    world.store.listResources = listResources;
    expect((await world.proofs.unproven()).total).toBe(1);
  });
});

describe('close', () => {
  it('ends what is under way and what waits, and leaves nothing', async () => {
    const names = Array.from({ length: 12 }, (_, index) => `ca-${index}`);
    await world.putMesh('many', fakeMtls('fake', {}, names));
    gate(false);
    const all = await Promise.all(names.map((name) => world.backend('many', name)));
    const asked = all.map((backend) => world.proofs.prove(backend, calm()));
    const ended = Promise.allSettled(asked);
    await world.settle();
    await world.proofs.close();
    for (const one of await ended) expect(one).toMatchObject({ reason: { message: 'mesh-ca is stopping' } });
    expect(world.clock.pending).toBe(0);
    await expect(world.proofs.prove(await world.backend('default'), calm())).rejects.toThrow('mesh-ca is stopping');
  });

  it('waits for what is being written', async () => {
    const { putResource } = world.store;
    let written = false;
    world.store.putResource = async (...args) => {
      await world.settle();
      const stored = await putResource(...args);
      written = true;
      return stored;
    };
    await world.proofs.prove(await world.backend('default'), calm());
    expect(written).toBe(false);
    await world.proofs.close();
    expect(written).toBe(true);
  });
});
