import { describe, expect, it, onTestFinished } from 'vitest';
import { ConflictError } from '../../src/issuer/errors.ts';
import {
  type CallOptions,
  type IssuedCertificate,
  type Issuer,
  type IssuerModule,
  isProvisioner,
  isRenewer,
  type Renewer,
} from '../../src/issuer/issuer.ts';
import { parseCertificate } from '../../src/x509/certificate.ts';
import { verifyChain } from '../../src/x509/chain.ts';
import { IDENTITY } from '../support/identity.ts';
import { live, requestFor } from './issuer.ts';
import type { TestDeps } from './issuer-deps.ts';
import { opensslVerify } from './openssl.ts';

/** One backend whose CA has been made; a new one for every test. */
export interface RenewerSetup<Conf> {
  readonly module: IssuerModule<Conf>;
  readonly conf: unknown;
  readonly deps: TestDeps;
}

const CONTEXT = { mesh: 'default', backend: 'ca-1' };
const AT_ONCE = 6;

/** What the contract promises of `Renewer`. After each step a new issuer is made, as the registry does when a secret has changed. */
export function testRenewer<Conf>(name: string, setup: () => Promise<RenewerSetup<Conf>>): void {
  async function start() {
    const { module, conf, deps } = await setup();
    const parsed = module.parseConf(conf, CONTEXT);
    const fresh = (): Issuer & Renewer => {
      const issuer = module.create(CONTEXT, parsed, deps);
      onTestFinished(() => issuer.close());
      if (!isRenewer(issuer)) throw new TypeError(`${name} does not renew its CA`);
      return issuer;
    };
    const issue = async () => fresh().sign(await requestFor(IDENTITY, 'EC-P256', 3600), live());
    const trusted = async () => (await fresh().trustBundle(live())).roots;
    const at = () => deps.clock.now();
    const used = module
      .usedSecrets(parsed, CONTEXT)
      .filter((secret) => !(module.followedSecrets?.(parsed, CONTEXT) ?? []).includes(secret));
    return { deps, fresh, issue, trusted, at, used };
  }

  describe(`renewer contract: ${name}`, () => {
    it('has one generation at first, which signs', async () => {
      const { fresh, issue, trusted } = await start();
      const generations = await fresh().generations(live());
      expect(generations).toEqual({ signing: (await trusted())[0], others: [] });
      expect((await issue()).roots).toEqual([generations.signing]);
    });

    it('trusts the next generation before that signs', async () => {
      const { fresh, issue, trusted } = await start();
      const { signing } = await fresh().generations(live());
      const prepared = await fresh().prepareNext(live());
      expect(prepared.signing).toEqual(signing);
      expect(prepared.others).toHaveLength(1);
      expect(await trusted()).toEqual([signing, ...prepared.others]);
      expect((await issue()).roots).toEqual([signing]);
    });

    it('makes a next generation with a key of its own and the same subject', async () => {
      const { fresh } = await start();
      const { signing, others } = await fresh().prepareNext(live());
      const [old, next] = [signing, ...others].map(parseCertificate);
      expect(next?.subjectDer).toEqual(old?.subjectDer);
      expect(next?.spkiDer).not.toEqual(old?.spkiDer);
      expect(next?.serialNumber).not.toBe(old?.serialNumber);
    });

    it('trusts certificates of both while one takes over from the other, by our own rules and by OpenSSL', async () => {
      const { fresh, issue, trusted, at } = await start();
      const before = await issue();
      const { others } = await fresh().prepareNext(live());
      await fresh().signWith(only(others), live());
      const after = await issue();
      expect(after.roots).toEqual(others);
      for (const roots of [await trusted(), [...(await trusted())].reverse()]) {
        for (const issued of [before, after]) {
          expect(verified(issued, roots, at())).toBe(true);
          const { leaf, chain } = issued;
          expect(await opensslVerify({ leaf, chain, roots, at: at(), purpose: 'sslserver' })).toBe('OK');
        }
      }
      expect(verified(before, after.roots, at())).toBe(false);
      expect(verified(after, before.roots, at())).toBe(false);
      const crossed = {
        leaf: before.leaf,
        chain: before.chain,
        roots: after.roots,
        at: at(),
        purpose: 'sslserver',
      } as const;
      expect(await opensslVerify(crossed)).not.toBe('OK');
    });

    it('goes back to the generation before, which stays trusted', async () => {
      const { fresh, issue, trusted } = await start();
      const { signing, others } = await fresh().prepareNext(live());
      await fresh().signWith(only(others), live());
      expect(await fresh().signWith(signing, live())).toEqual({ signing, others });
      expect((await issue()).roots).toEqual([signing]);
      expect(await trusted()).toEqual([signing, ...others]);
    });

    it('drops all but the one that signs, also when that is the older one', async () => {
      for (const takesOver of [true, false]) {
        const { fresh, issue, trusted, at } = await start();
        const before = await issue();
        const { signing, others } = await fresh().prepareNext(live());
        const left = takesOver ? only(others) : signing;
        await fresh().signWith(left, live());
        expect(await fresh().dropOthers(live())).toEqual({ signing: left, others: [] });
        expect(await trusted()).toEqual([left]);
        expect((await issue()).roots).toEqual([left]);
        expect(verified(before, await trusted(), at())).toBe(!takesOver);
        await expect(fresh().signWith(takesOver ? signing : only(others), live())).rejects.toBeInstanceOf(
          ConflictError,
        );
      }
    });

    it('can be renewed again and again', async () => {
      const { fresh, issue, trusted } = await start();
      const seen = new Set<string>();
      for (let round = 0; round < 4; round += 1) {
        const { others } = await fresh().prepareNext(live());
        await fresh().signWith(only(others), live());
        await fresh().dropOthers(live());
        expect((await issue()).roots).toEqual(await trusted());
        seen.add(only(await trusted()).toString('hex'));
      }
      expect(seen.size).toBe(4);
    });

    it('takes every step once, however often it is asked to', async () => {
      const { fresh, deps } = await start();
      const next = only((await fresh().prepareNext(live())).others);
      for (const step of [
        (issuer: Renewer) => issuer.prepareNext(live()),
        (issuer: Renewer) => issuer.signWith(next, live()),
        (issuer: Renewer) => issuer.dropOthers(live()),
      ]) {
        const first = await step(fresh());
        const stored = new Map(deps.stored);
        expect(await step(fresh())).toEqual(first);
        expect(await fresh().generations(live())).toEqual(first);
        expect(deps.stored).toEqual(stored);
      }
    });

    it(`takes every step once when ${AT_ONCE} instances take it at the same time`, async () => {
      const { fresh } = await start();
      const atOnce = async (step: (issuer: Renewer) => Promise<unknown>) => {
        const answers = await Promise.all(Array.from({ length: AT_ONCE }, () => step(fresh())));
        for (const answer of answers) expect(answer).toEqual(answers[0]);
      };
      await atOnce((issuer) => issuer.prepareNext(live()));
      const { others } = await fresh().generations(live());
      await atOnce((issuer) => issuer.signWith(only(others), live()));
      await atOnce((issuer) => issuer.dropOthers(live()));
      expect(await fresh().generations(live())).toEqual({ signing: only(others), others: [] });
    });

    it('does not sign with a root that it does not know', async () => {
      const { fresh, deps } = await start();
      const foreign = await start();
      const before = await fresh().prepareNext(live());
      const stored = new Map(deps.stored);
      const { signing } = await foreign.fresh().prepareNext(live());
      const unknown = signing.equals(before.signing) ? Buffer.from('no certificate at all') : signing;
      await expect(fresh().signWith(unknown, live())).rejects.toMatchObject({
        code: 'ERR_CONFLICT',
        fix: expect.any(String),
      });
      expect(deps.stored).toEqual(stored);
    });

    it('stays as it is when the mesh is stored in the middle of it', async () => {
      const { fresh, deps } = await start();
      const { others } = await fresh().prepareNext(live());
      await fresh().signWith(only(others), live());
      const stored = new Map(deps.stored);
      const issuer: Issuer = fresh();
      if (isProvisioner(issuer)) await issuer.ensure(live());
      expect(deps.stored).toEqual(stored);
    });

    it('keeps all that it needs in secrets that it names, and each step changes one of which a new issuer is made', async () => {
      const { fresh, deps, used } = await start();
      const watched = () => used.map((secret) => deps.stored.get(secret)?.toString('base64'));
      const next = only((await changes(() => fresh().prepareNext(live()))).others);
      await changes(() => fresh().signWith(next, live()));
      await changes(() => fresh().dropOthers(live()));

      async function changes<T>(step: () => Promise<T>): Promise<T> {
        const before = watched();
        const answer = await step();
        expect(watched()).not.toEqual(before);
        expect(used).toEqual(expect.arrayContaining([...deps.stored.keys()]));
        return answer;
      }
    });

    it('rejects with the reason of a signal that has fired, and changes nothing', async () => {
      const { fresh, deps } = await start();
      const { signing } = await fresh().prepareNext(live());
      const stored = new Map(deps.stored);
      const reason = new Error('the caller hung up');
      const aborted: CallOptions = { signal: AbortSignal.abort(reason) };
      await expect(fresh().generations(aborted)).rejects.toBe(reason);
      await expect(fresh().prepareNext(aborted)).rejects.toBe(reason);
      await expect(fresh().signWith(signing, aborted)).rejects.toBe(reason);
      await expect(fresh().dropOthers(aborted)).rejects.toBe(reason);
      expect(deps.stored).toEqual(stored);
    });
  });
}

/** Whether the certificate leads to one of these roots (DER). */
export function verified({ leaf, chain }: IssuedCertificate, roots: readonly Buffer[], at: Date): boolean {
  const path = { leaf: parseCertificate(leaf), chain: chain.map(parseCertificate), roots: roots.map(parseCertificate) };
  return verifyChain({ ...path, at }).ok;
}

function only(roots: readonly Buffer[]): Buffer {
  const [root] = roots;
  expect(roots).toHaveLength(1);
  return root ?? Buffer.alloc(0);
}
