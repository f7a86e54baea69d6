import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { IssuerUnavailableError } from '../../src/issuer/errors.ts';
import { isProvisioner, isRenewer, type Renewer } from '../../src/issuer/issuer.ts';
import { decodePem } from '../../src/x509/pem.ts';
import { createFakeClock } from '../conformance/issuer-deps.ts';
import { makeCa } from '../conformance/make-ca.ts';
import { caDer, createTrustWorld, type Instance, live, MESH, prints, settled, type TrustWorld } from './trust-world.ts';

const MINUTE_MS = 60_000;
const [OLD, NEW, THIRD] = await Promise.all(['old', 'new', 'third'].map(caDer)).then(([a, b, c]) => {
  if (a === undefined || b === undefined || c === undefined) throw new Error('three roots are wanted');
  return [a, b, c] as const;
});
const FAILURE = new IssuerUnavailableError('is down');

let world: TrustWorld;
let instance: Instance;
beforeEach(async () => {
  world = await createTrustWorld(createFakeClock(new Date()));
  world.upstream.up.roots = [OLD];
  instance = world.start();
});
afterEach(() => instance.close());

const A = { name: 'a', type: 'up' };

describe('roots that change upstream, while nobody asks for the bundle', () => {
  const cases: readonly { name: string; change: () => void | Promise<void>; trusted: readonly Buffer[] }[] = [
    {
      name: 'one more: it joins',
      change: () => {
        world.upstream.up.roots = [OLD, NEW];
      },
      trusted: [OLD, NEW],
    },
    {
      name: 'another one: it takes the place of the old',
      change: () => {
        world.upstream.up.roots = [NEW];
      },
      trusted: [NEW],
    },
    {
      name: 'another one, while a certificate under the old is in use: both are trusted',
      change: async () => {
        await world.record('web', OLD, 10 * MINUTE_MS);
        world.upstream.up.roots = [NEW];
      },
      trusted: [OLD, NEW],
    },
    {
      name: 'the backend is down: it keeps what it has',
      change: () => {
        world.upstream.up.failure = FAILURE;
      },
      trusted: [OLD],
    },
    {
      name: 'the backend forgets its roots: it keeps what it has',
      change: () => {
        world.upstream.up.roots = undefined;
      },
      trusted: [OLD],
    },
  ];
  for (const { name, change, trusted } of cases) {
    it(`${name}, within a minute`, async () => {
      await world.put(A);
      expect(await instance.roots()).toEqual(prints(OLD));
      await change();
      await world.pass(MINUTE_MS);
      expect(await world.storedRoots()).toEqual(prints(...trusted));
      expect(instance.told).toEqual(trusted.length === 1 && trusted[0] === OLD ? [1] : [1, 2]);
    });
  }

  it('keep the old one only until the last certificate under it has expired', async () => {
    await world.put(A);
    await instance.roots();
    await world.record('web', OLD, 10 * MINUTE_MS);
    world.upstream.up.roots = [NEW];
    await world.pass(9 * MINUTE_MS);
    expect(await world.storedRoots()).toEqual(prints(OLD, NEW));
    await world.pass(2 * MINUTE_MS);
    expect(await world.storedRoots()).toEqual(prints(NEW));
  });

  it('join after a backend was down for an hour, which is asked no more often than one that answers', async () => {
    await world.put(A);
    await instance.roots();
    world.upstream.up.failure = FAILURE;
    const { asked } = world.upstream.up;
    await world.pass(60 * MINUTE_MS);
    expect(world.upstream.up.asked - asked).toBeLessThanOrEqual(80);
    expect(instance.log.filter(({ level }) => level === 'warn')).toHaveLength(1);
    Object.assign(world.upstream.up, { failure: undefined, roots: [NEW] });
    await world.pass(MINUTE_MS);
    expect(await world.storedRoots()).toEqual(prints(NEW));
  });

  it('are looked at in a mesh whose other backend hangs', async () => {
    world.upstream.other.roots = [THIRD];
    await world.put(A, { name: 'b', type: 'other' });
    await instance.roots();
    world.upstream.other.gate = new Promise(() => {});
    world.upstream.up.roots = [OLD, NEW];
    await world.pass(MINUTE_MS);
    expect(await world.storedRoots()).toEqual(prints(OLD, NEW, THIRD));
  });

  it('of a mesh that is gone are looked at no more', async () => {
    await world.put(A);
    await instance.roots();
    await world.store.deleteMesh(MESH);
    await settled();
    const { asked } = world.upstream.up;
    await world.pass(10 * MINUTE_MS);
    expect(world.upstream.up.asked).toBe(asked);
  });
});

describe('roots that change in the store are in the bundle at once', () => {
  const storedCa = async (name: string) => {
    const ca = await makeCa({ name });
    await world.putSecret('cert', ca.certPem);
    await world.putSecret('key', ca.keyPem);
    return decodePem(ca.certPem)[0]?.der ?? Buffer.alloc(0);
  };
  const conf = { cert: { secret: 'cert' }, key: { secret: 'key' } };

  it('when a provided secret is replaced', async () => {
    const before = await storedCa('before');
    await world.put({ name: 'p', type: 'provided', conf });
    expect(await instance.roots()).toEqual(prints(before));
    await world.record('web', before, MINUTE_MS);
    const after = await storedCa('after');
    await settled();
    expect(await world.storedRoots()).toEqual(prints(before, after));
  });

  it('when the next generation of a builtin CA is made, and until the one before is dropped', async () => {
    await world.put({ name: 'b', type: 'builtin', conf: { caCert: { keyType: 'EC-P256' } } });
    const call = <T>(work: (renewer: Renewer) => Promise<T>) =>
      instance.backends.get(MESH).then(({ enabled }) =>
        enabled?.call(
          'ensure',
          async (issuer) => {
            if (!isProvisioner(issuer) || !isRenewer(issuer)) throw new Error('a builtin CA makes and renews itself');
            await issuer.ensure(live());
            return work(issuer);
          },
          live(),
        ),
      );
    const first = await call((renewer) => renewer.generations(live()));
    const before = first?.signing ?? Buffer.alloc(0);
    expect(await instance.roots()).toEqual(prints(before));
    const prepared = await call((renewer) => renewer.prepareNext(live()));
    const next = prepared?.others[0] ?? Buffer.alloc(0);
    await settled();
    expect(await world.storedRoots()).toEqual(prints(before, next));
    await call((renewer) => renewer.signWith(next, live()));
    await settled();
    expect(await world.storedRoots()).toEqual(prints(before, next));
    await call((renewer) => renewer.dropOthers(live()));
    await settled();
    expect(await world.storedRoots()).toEqual(prints(next));
  });

  it('when a backend joins the mesh, and when one leaves it', async () => {
    world.upstream.other.roots = [THIRD];
    await world.put(A);
    await instance.roots();
    await world.put(A, { name: 'b', type: 'other' });
    await settled();
    expect(await world.storedRoots()).toEqual(prints(OLD, THIRD));
    await world.put({ name: 'b', type: 'other' });
    await settled();
    expect(await world.storedRoots()).toEqual(prints(THIRD));
  });

  it('and in the next answer: one that was begun before the change is not given', async () => {
    await world.put(A);
    await instance.roots();
    world.upstream.other.roots = [THIRD];
    const early = instance.roots();
    await world.put(A, { name: 'b', type: 'other' });
    const late = instance.roots();
    expect(await late).toEqual(prints(OLD, THIRD));
    expect(prints(OLD, THIRD)).toEqual(expect.arrayContaining([...(await early)]));
  });
});

describe('a backend that tells its roots only with certificates', () => {
  beforeEach(async () => {
    world.upstream.other.roots = undefined;
    await world.put(A, { name: 'b', type: 'other' });
    await instance.roots();
  });
  const learn = (...roots: readonly Buffer[]) => instance.bundles.learn(MESH, 'b', roots, live());

  it('has those that it proved, for as long as it tells no others', async () => {
    expect([...(await learn(NEW)).fingerprints].sort()).toEqual(prints(OLD, NEW));
    await world.pass(60 * MINUTE_MS);
    expect(await world.storedRoots()).toEqual(prints(OLD, NEW));
    world.upstream.other.roots = [THIRD];
    await world.pass(2 * MINUTE_MS);
    expect(await world.storedRoots()).toEqual(prints(OLD, THIRD));
  });

  it('has them after a restart, and when it proves others', async () => {
    await learn(NEW);
    await instance.close();
    instance = world.start();
    expect(await instance.roots()).toEqual(prints(OLD, NEW));
    await learn(THIRD);
    await world.pass(60 * MINUTE_MS);
    expect(await world.storedRoots()).toEqual(prints(OLD, NEW, THIRD));
  });

  it('loses them when it leaves the mesh', async () => {
    await learn(NEW);
    await world.put(A);
    expect(await instance.roots()).toEqual(prints(OLD));
    expect([...(await learn(NEW)).fingerprints]).toEqual(prints(OLD));
  });

  it('keeps a root that it shares with another one when that leaves', async () => {
    await learn(OLD);
    await world.put({ name: 'b', type: 'other' });
    expect(await instance.roots()).toEqual(prints(OLD));
  });

  it('makes no new version when it proves what is known', async () => {
    const { version } = await learn(NEW);
    expect([(await learn(NEW)).version, (await learn()).version]).toEqual([version, version]);
  });
});

describe('two processes on one store', () => {
  let other: Instance;
  beforeEach(async () => {
    await world.put(A);
    other = world.start();
    await Promise.all([instance.roots(), other.roots()]);
  });
  afterEach(() => other.close());

  it('tell who listens of a version that the other one made, once', async () => {
    await instance.bundles.learn(MESH, 'a', [NEW], live());
    other.tellUnknown();
    other.tellUnknown();
    await settled();
    expect([instance.told, other.told]).toEqual([
      [1, 2],
      [1, 2],
    ]);
  });

  it('do not take away what the other one has learned and they have not', async () => {
    await world.pass(20_000);
    world.upstream.up.roots = [OLD, NEW];
    const late = world.start();
    expect(await late.version()).toBe(1);
    await world.pass(1_000);
    expect(await world.storedRoots()).toEqual(prints(OLD, NEW));
    other.tellUnknown();
    instance.tellUnknown();
    await settled();
    await world.pass(MINUTE_MS);
    expect([await world.storedRoots(), await late.version()]).toEqual([prints(OLD, NEW), 2]);
    await late.close();
  });

  it('read all meshes again, a few at a time, when the other one wrote something', async () => {
    const names = Array.from({ length: 50 }, (_, index) => `mesh-${index}`);
    const body = JSON.stringify({ mtls: { enabledBackend: 'a', backends: [{ ...A, conf: {} }] } });
    for (const name of names) await world.store.putResource({ type: 'Mesh', mesh: '', name, body });
    await Promise.all(names.map((name) => other.bundles.get(name, live())));
    for (const name of names) await instance.bundles.learn(name, 'a', [NEW], live());
    const told = other.told.length;
    other.tellUnknown();
    await settled();
    await settled();
    expect(other.told.length - told).toBe(50);
  });
});

describe('who follows bundles', () => {
  it('is told of each version once, the first included, and of none after it has stopped', async () => {
    await world.put(A);
    const told: string[] = [];
    const stop = instance.bundles.onChange((mesh) => told.push(mesh));
    await Promise.all([instance.roots(), instance.roots()]);
    expect(told).toEqual([MESH]);
    await world.putSecret('unrelated', 'x');
    await settled();
    expect(told).toEqual([MESH]);
    await instance.bundles.learn(MESH, 'a', [NEW], live());
    expect(told).toEqual([MESH, MESH]);
    stop();
    stop();
    await instance.bundles.learn(MESH, 'a', [THIRD], live());
    expect(told).toEqual([MESH, MESH]);
  });

  it('does not keep the others from being told when it fails', async () => {
    await world.put(A);
    const told: string[] = [];
    instance.bundles.onChange(() => {
      throw new Error('a mistake');
    });
    instance.bundles.onChange((mesh) => told.push(mesh));
    expect(await instance.roots()).toEqual(prints(OLD));
    expect([told, instance.log.filter(({ level }) => level === 'error').length]).toEqual([[MESH], 1]);
  });

  it('finds that nothing is left when bundles are closed, while a backend hangs', async () => {
    await world.put(A);
    await instance.roots();
    world.upstream.up.gate = new Promise(() => {});
    const held = instance.bundles.waitForChange(MESH, 1, 300_000, live());
    await world.pass(MINUTE_MS);
    await instance.close();
    expect([await held, world.clock.pending]).toEqual([undefined, 0]);
  });
});
