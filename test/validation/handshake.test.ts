import { describe, expect, it } from 'vitest';
import { systemClock } from '../../src/runtime/clock.ts';
import { type HandshakeParts, tryHandshake } from '../../src/validation/handshake.ts';
import { oid, sequence } from '../../src/x509/der-writer.ts';
import { extension } from '../../src/x509/extensions.ts';
import type { OidName } from '../../src/x509/oids.ts';
import { createFakeClock } from '../conformance/issuer-deps.ts';
import { settle } from '../support/pass-time.ts';
import { buildLeaf, type TestCertificateOptions } from '../x509/test-certificate.ts';
import { freshTestKey, type TestKey } from '../x509/test-keys.ts';
import { buildCas } from './proving-ground.ts';

const WEB = 'spiffe://default/web';
const cas = buildCas();
const others = buildCas();
const key = freshTestKey('EC-P256');
const fromNow = (seconds: number) => new Date(Math.floor(Date.now() / 1000) * 1000 + seconds * 1000);
const usages = (...names: OidName[]) => [extension('extKeyUsage', false, sequence(...names.map(oid)))];

function parts(leaf: Partial<TestCertificateOptions> = {}, changes: Partial<HandshakeParts> = {}): HandshakeParts {
  const validity = { notBefore: fromNow(-30), notAfter: fromNow(3600) };
  return {
    leaf: buildLeaf({ key, issuer: cas.lower, commonName: '', uriSans: [WEB], ...validity, ...leaf }).certificate,
    chain: [cas.lower.certificate, cas.upper.certificate],
    roots: [cas.root.certificate],
    privateKeyDer: pkcs8(key),
    spiffeIds: [WEB],
    ...changes,
  };
}

function pkcs8({ privateKey }: TestKey): Buffer {
  return privateKey.export({ type: 'pkcs8', format: 'der' });
}

const live = () => ({ signal: new AbortController().signal, clock: systemClock, timeoutMs: 1000 });

describe('a handshake between two test proxies', () => {
  const rsa = freshTestKey('RSA-2048');
  it.each<[string, HandshakeParts]>([
    ['a good certificate', parts()],
    ['both extended key usages', parts({ moreExtensions: usages('serverAuth', 'clientAuth') })],
    ['an RSA key', parts({ key: rsa }, { privateKeyDer: pkcs8(rsa) })],
    ['a leaf of the root itself', parts({ issuer: cas.root }, { chain: [] })],
    ['other roots beside the right one', parts({}, { roots: [others.root.certificate, cas.root.certificate] })],
    ['names of other kinds beside its SPIFFE ID', parts({ uriSans: [WEB, 'kuma://kuma.io/service/web'] })],
  ])('succeeds with %s', async (_, given) => {
    expect(await tryHandshake(given, live())).toBeUndefined();
  });

  it.each<[string, HandshakeParts, RegExp]>([
    [
      'another root',
      parts({}, { roots: [others.root.certificate] }),
      /^the client's certificate is refused: .*the root is another one/,
    ],
    ['a missing intermediate', parts({}, { chain: [cas.lower.certificate] }), /an intermediate is missing/],
    ['no intermediate at all', parts({}, { chain: [] }), /an intermediate is missing/],
    ['an ended leaf', parts({ notAfter: fromNow(-1) }), /^the certificate ended at /],
    ['a leaf of tomorrow', parts({ notBefore: fromNow(60) }), /^the certificate is not valid before /],
    [
      'serverAuth only',
      parts({ moreExtensions: usages('serverAuth') }),
      /^the client's certificate is refused: its key usages/,
    ],
    [
      'clientAuth only',
      parts({ moreExtensions: usages('clientAuth') }),
      /^the server's certificate is refused: its key usages/,
    ],
    ['an intermediate that is no CA', noCa(), /refused: its key usages, or usages and constraints of a CA above it/],
    [
      'another SPIFFE ID',
      parts({ uriSans: ['spiffe://default/admin'] }),
      /^the client is spiffe:\/\/default\/admin, not spiffe:\/\/default\/web$/,
    ],
    ['one SPIFFE ID more', parts({ uriSans: [WEB, 'spiffe://default/admin'] }), /not spiffe:\/\/default\/web$/],
    ['no SPIFFE ID', parts({ uriSans: ['kuma://a/b'] }), /^the client is nobody, not/],
    [
      "somebody else's key",
      parts({}, { privateKeyDer: pkcs8(freshTestKey('EC-P256')) }),
      /^no TLS library takes certificate and key: key values mismatch/,
    ],
    [
      'a key that is none',
      parts({}, { privateKeyDer: Buffer.from('none') }),
      /^no TLS library takes certificate and key: /,
    ],
  ])('fails with %s, and says so plainly', async (_, given, cause) => {
    expect((await tryHandshake(given, live()))?.cause).toMatch(cause);
  });

  it('asks the clock that was handed in, not the machine, whether a certificate is valid', async () => {
    const clock = createFakeClock(new Date(Date.now() - 5 * 24 * 3600 * 1000));
    const at = (seconds: number) => new Date(Math.floor(clock.now().getTime() / 1000) * 1000 + seconds * 1000);
    const then = parts({ notBefore: at(-30), notAfter: at(3600) });
    expect(await tryHandshake(then, { ...live(), clock })).toBeUndefined();
    expect((await tryHandshake(parts(), { ...live(), clock }))?.cause).toMatch(/^the certificate is not valid before /);
    expect(clock.pending).toBe(0);
  });

  it('ends by its deadline', async () => {
    const clock = createFakeClock(new Date());
    const waiting = tryHandshake(parts(), { ...live(), clock, timeoutMs: 800 });
    clock.advance(800);
    expect(await waiting).toEqual({ cause: 'it was not done within 800 ms', retry: true });
    expect(clock.pending).toBe(0);
  });

  it('ends with the reason of a caller who goes', async () => {
    const controller = new AbortController();
    const waiting = tryHandshake(parts(), { ...live(), signal: controller.signal });
    controller.abort(new Error('gone'));
    await expect(waiting).rejects.toThrow('gone');
    await expect(tryHandshake(parts(), { ...live(), signal: controller.signal })).rejects.toThrow('gone');
  });

  it('leaves no socket and no timer, however it ends', async () => {
    const held = () =>
      process.getActiveResourcesInfo().filter((kind) => /TLS|TCP|Pipe|Timeout|Stream/.test(kind)).length;
    const before = held();
    for (const given of [parts(), parts({}, { chain: [] }), parts({ uriSans: [] })]) await tryHandshake(given, live());
    await tryHandshake(parts(), { ...live(), timeoutMs: 0 });
    await settle();
    expect(held()).toBeLessThanOrEqual(before);
  });
});

function noCa(): HandshakeParts {
  const bad = buildCas({ lower: { constraints: { ca: false } } });
  return parts(
    { issuer: bad.lower },
    { chain: [bad.lower.certificate, bad.upper.certificate], roots: [bad.root.certificate] },
  );
}
