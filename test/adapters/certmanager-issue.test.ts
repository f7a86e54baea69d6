import { describe, expect, it, onTestFinished } from 'vitest';
import {
  CaError,
  IssuancePendingError,
  IssuerDeniedError,
  IssuerResponseError,
  RequestInvalidError,
} from '../../src/issuer/errors.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { createSharedResources } from '../../src/runtime/shared-resources.ts';
import { parseCertificate } from '../../src/x509/certificate.ts';
import { live, requestFor } from '../conformance/issuer.ts';
import type { Outcome } from '../fakes/kubernetes/cert-manager-controller.ts';
import { inspectFailed } from '../support/inspect-all.ts';
import { startBackend, waitUntil } from './certmanager-backend.ts';

describe('the object that asks cert-manager', () => {
  it('says who made it, for whom, until when, and what for', async () => {
    const { sign, kube, controller } = await startBackend(onTestFinished, {
      settings: { podName: 'mesh-ca-0', podUid: '0f8fad5b-d9cb-469f-a165-70867728950e' },
    });
    controller.pause();
    const signed = sign();
    await waitUntil(async () => (await kube.admin.list()).length === 1);
    const [object] = await kube.admin.list();
    controller.resume();
    await signed;
    expect(object?.metadata).toMatchObject({
      name: expect.stringMatching(/^mesh-ca-[0-9a-f]{40}$/),
      labels: {
        'app.kubernetes.io/managed-by': 'mesh-ca',
        'mesh-ca/instance': '0f8fad5b-d9cb-469f-a165-70867728950e',
        'mesh-ca/mesh': 'default',
        'mesh-ca/backend': 'ca-1',
        'mesh-ca/dataplane': 'web-1',
      },
      annotations: { 'mesh-ca/dataplane': 'web-1' },
      ownerReferences: [{ kind: 'Pod', name: 'mesh-ca-0' }],
    });
    const expiresMs = Date.parse(object?.metadata.annotations?.['mesh-ca/expires-at'] ?? '') - Date.now();
    expect(expiresMs).toBeGreaterThan(150_000);
    expect(expiresMs).toBeLessThan(200_000);
    expect(object?.spec).toMatchObject({
      issuerRef: { name: 'mesh-ca-issuer', kind: 'Issuer', group: 'cert-manager.io' },
      duration: '3600s',
      usages: ['digital signature', 'key encipherment', 'server auth', 'client auth'],
      isCA: false,
    });
  });

  it('is one create and one delete for each certificate, told by one watch for all meshes', async () => {
    const shared = createSharedResources();
    const { sign, kube, startReplica, leftovers } = await startBackend(onTestFinished, { shared });
    const other = await startReplica({ shared });
    // Eight at a time, as the queue of an endpoint begins.
    for (const wave of ['1', '2', '3', '4', '5']) {
      const numbers = [...Array(4).keys()];
      await Promise.all(numbers.flatMap((i) => [sign(`a-${wave}-${i}`), other.sign(`b-${wave}-${i}`)]));
    }
    expect(await leftovers()).toEqual([]);
    const { requests } = await kube.counts();
    expect(requests).toMatchObject({ create: 40, delete: 40, get: 0, watch: 1, patch: 0, update: 0 });
    expect(requests.list).toBeLessThanOrEqual(2);
    expect(kube.faults.connections().opened).toBeLessThan(40);
  });
});

const OUTCOMES: readonly [Outcome, new (...args: never[]) => CaError, RegExp][] = [
  ['fail', IssuerDeniedError, /failed to sign: .*the signer said no/],
  ['deny', IssuerDeniedError, /denied the CertificateRequest: No policy approved/],
  ['invalid', RequestInvalidError, /not valid: the CSR names what it may not/],
  ['wrong-key', IssuerResponseError, /for another key/],
  ['foreign-root', IssuerResponseError, /did not sign its certificate/],
  ['expired-ca', IssuerResponseError, /its CA ends at/],
  ['no-ca', IssuerResponseError, /tells no root/],
  ['partial-chain', IssuerResponseError, /tells no root/],
  ['garbage', IssuerResponseError, /no certificate in PEM/],
  ['empty', IssuerResponseError, /holds no certificate/],
];

describe('what cert-manager makes of a request', () => {
  it('is told by the error, is never asked for again and again, and leaves nothing', async () => {
    const { sign, kube, controller, leftovers } = await startBackend(onTestFinished);
    for (const [outcome, type, message] of OUTCOMES) {
      controller.outcome = () => outcome;
      const before = (await kube.counts()).requests.create;
      const error = await sign(outcome).catch((reason: unknown) => reason);
      expect(error, outcome).toBeInstanceOf(type);
      expect(error instanceof CaError && [error.message, error.fix], outcome).toEqual([
        expect.stringMatching(message),
        expect.any(String),
      ]);
      // An approver decides by what is asked for: that it denies one says nothing about the next.
      expect(error instanceof CaError && error.ofRequest, outcome).toBe(outcome === 'deny');
      expect((await kube.counts()).requests.create - before, outcome).toBe(1);
    }
    expect(await leftovers()).toEqual([]);
  });

  it('is put in order, whatever the order it is told in', async () => {
    const { sign, controller, issuer } = await startBackend(onTestFinished);
    controller.outcome = () => 'odd-order';
    const { chain, roots } = await sign();
    expect([chain.length, roots.length]).toEqual([1, 1]);
    expect(await issuer.trustBundle(live())).toEqual({ roots, intermediates: chain });
  });

  it.each(['no-ca', 'partial-chain'] as const)('needs caCert where the root is not told: %s', async (outcome) => {
    const { controller, startReplica } = await startBackend(onTestFinished);
    controller.outcome = () => outcome;
    const pinned = await startReplica({ conf: { caCert: { inlineString: controller.rootPem } } });
    const { chain, roots } = await pinned.sign();
    expect(chain).toHaveLength(1);
    expect(roots).toEqual((await pinned.issuer.trustBundle(live())).roots);
  });

  it('has to end in caCert', async () => {
    const { controller, startReplica } = await startBackend(onTestFinished);
    const pinned = await startReplica({ conf: { caCert: { inlineString: controller.rootPem } } });
    await controller.rotateCa();
    await expect(pinned.sign()).rejects.toThrow('does not lead to a root of conf.caCert');
  });

  it('says how to look at the issuer that failed, in its namespace', async () => {
    const { sign, controller } = await startBackend(onTestFinished);
    controller.outcome = () => 'fail';
    await expect(sign()).rejects.toMatchObject({
      fix: expect.stringContaining('kubectl -n kong-mesh-system describe issuer.cert-manager.io mesh-ca-issuer,'),
    });
  });

  it('is awaited until the caller gives up, and then told', async () => {
    const { sign, controller, leftovers, startReplica } = await startBackend(onTestFinished);
    controller.outcome = () => 'pending';
    const late = (ms: number) => systemClock.deadline(ms).signal;
    await expect(sign('pending', { signal: late(300) })).rejects.toThrow(IssuancePendingError);
    await expect(sign('again', { signal: late(300) })).rejects.toThrow(
      'still pending: Waiting on certificate issuance',
    );
    const lost = await startReplica({ conf: { issuerRef: { name: 'other' } } });
    await expect(lost.sign('lost', { signal: late(300) })).rejects.toMatchObject({
      message: expect.stringContaining('Referenced "Issuer" not found'),
      fix: expect.stringContaining('kubectl -n kong-mesh-system describe issuer.cert-manager.io other'),
    });
    const caller = new AbortController();
    const reason = new Error('hung up');
    setTimeout(() => caller.abort(reason), 100);
    await expect(sign('hung-up', { signal: caller.signal })).rejects.toBe(reason);
    expect(await leftovers()).toEqual([]);
  });

  it('follows the CA when that is replaced', async () => {
    const { sign, controller, issuer } = await startBackend(onTestFinished);
    const before = await sign('before');
    await controller.rotateCa();
    const after = await sign('after');
    expect(after.roots).not.toEqual(before.roots);
    expect((await issuer.trustBundle(live())).roots).toEqual(after.roots);
  });

  it('never outlives the CA: what is asked for is cut to its end', async () => {
    const { sign, kube } = await startBackend(onTestFinished);
    const issued = await sign('long', { ttlSeconds: 200 * 365 * 86_400 });
    const ends = [...issued.chain, ...issued.roots].map((der) => parseCertificate(der).notAfter.getTime());
    expect(issued.notAfter.getTime()).toBeLessThanOrEqual(Math.min(...ends));
    await sign('long again', { ttlSeconds: 200 * 365 * 86_400 });
    expect((await kube.counts()).requests.create).toBeLessThanOrEqual(3);
  });

  it('gives its place to others once cert-manager says that it waits for something', async () => {
    const { controller, issuer } = await startBackend(onTestFinished);
    controller.outcome = () => 'no-issuer';
    const who = { mesh: 'default', dataplane: 'web-1', tags: new Map([['kuma.io/service', ['web']]]) };
    const identity = { ...who, uriSans: ['spiffe://default/web'], ...issuer.subject(who) };
    const request = await requestFor(identity, 'EC-P256', 3600, 'waiting');
    const caller = new AbortController();
    let signed: Promise<unknown> | undefined;
    await new Promise<void>((park) => {
      signed = issuer.sign(request, { signal: caller.signal, park });
      signed.catch(() => {});
    });
    caller.abort(new Error('hung up'));
    await expect(signed).rejects.toThrow('hung up');
  });
});

describe('the root of an issuer without caCert', () => {
  it('comes with the first certificate, and until then it is said how to give it', async () => {
    const { issuer, sign } = await startBackend(onTestFinished);
    await expect(issuer.trustBundle(live())).rejects.toMatchObject({
      code: 'ERR_ISSUANCE_PENDING',
      fix: expect.stringContaining('conf.caCert'),
    });
    const { roots } = await sign();
    expect((await issuer.trustBundle(live())).roots).toEqual(roots);
  });

  it('is refused when caCert holds no root', async () => {
    const { controller, startReplica } = await startBackend(onTestFinished);
    for (const text of ['no PEM', controller.intermediatePem]) {
      const { sign, issuer } = await startReplica({ conf: { caCert: { inlineString: text } } });
      await expect(sign()).rejects.toThrow('caCert: holds no usable root certificate');
      expect(await inspectFailed(issuer)).toMatchObject([{ name: 'certmanager.root-known', field: 'caCert' }]);
    }
  });
});
