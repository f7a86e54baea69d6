import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CertificateAnswer } from '../../src/issuance/certificate-request.ts';
import type { ReissuePlan } from '../../src/issuance/reissue-plan.ts';
import { encodePem } from '../../src/x509/pem.ts';
import { type CertificatesWorld, createCertificatesWorld } from './certificates-world.ts';

const MINUTE_MS = 60_000;
const inMs = (ms: number) => new Date(Date.now() + ms);

/** What is planned for every certificate of the mesh. */
let plan: ReissuePlan | undefined;
let world: CertificatesWorld;
let first: CertificateAnswer;

const ask = (more: { current?: boolean; force?: boolean; withCsr?: boolean; service?: string } = {}) =>
  world.issue('default', 'web-1', {
    ...(more.current === true && { currentPem: encodePem('CERTIFICATE', first.leaf) }),
    withCsr: more.withCsr ?? true,
    ...(more.force === true && { force: true }),
    ...(more.service !== undefined && { service: more.service }),
  });

beforeEach(async () => {
  plan = undefined;
  world = await createCertificatesWorld({ plans: { of: () => plan } });
  await world.putMesh('default');
  first = await ask();
});
afterEach(() => world.close());

describe('a rotation under way', () => {
  it('leaves a certificate alone that it does not care about', async () => {
    plan = () => undefined;
    expect(await ask()).toMatchObject({ outcome: 'reused', renewAt: first.renewAt });
  });

  it('makes a certificate due that stands otherwise', async () => {
    plan = () => 'due';
    expect((await ask()).outcome).toBe('issued');
    plan = () => inMs(-MINUTE_MS);
    expect((await ask({ current: true, withCsr: false })).outcome).toBe('issued');
  });

  it('tells when its turn comes, when that is before its renewal', async () => {
    const turn = inMs(MINUTE_MS);
    plan = () => turn;
    expect(await ask()).toMatchObject({ outcome: 'reused', renewAt: turn });
    expect(await ask({ current: true, withCsr: false })).toMatchObject({ outcome: 'kept', renewAt: turn });
    plan = () => inMs(1000 * 365 * 24 * 60 * MINUTE_MS);
    expect((await ask()).renewAt).toEqual(first.renewAt);
  });
});

describe('once another backend issues', () => {
  beforeEach(() => world.putMesh('default', undefined, { enabled: 'new' }));

  it('a certificate is due at once without a rotation', async () => {
    expect(await ask()).toMatchObject({ outcome: 'issued', backend: 'new' });
  });

  it('one that is still to wait stands, and belongs to the backend that made it', async () => {
    const turn = inMs(MINUTE_MS);
    plan = () => turn;
    expect(await ask()).toMatchObject({ outcome: 'reused', backend: 'ca', renewAt: turn, leaf: first.leaf });
    expect(await ask({ current: true, withCsr: false })).toMatchObject({ outcome: 'kept', backend: 'ca' });
  });

  const made: readonly { when: string; planned: ReissuePlan; more: Parameters<typeof ask>[0] }[] = [
    { when: 'its turn has come', planned: () => 'due', more: {} },
    { when: 'its moment has passed', planned: () => inMs(-MINUTE_MS), more: {} },
    { when: 'its identity changed', planned: () => inMs(MINUTE_MS), more: { service: 'other' } },
    { when: 'a new one is demanded', planned: () => inMs(MINUTE_MS), more: { force: true } },
  ];
  it.each(made)('it is made anew by the new backend when $when', async ({ planned, more }) => {
    plan = planned;
    expect(await ask(more)).toMatchObject({ outcome: 'issued', backend: 'new' });
  });

  it('one whose backend has left the mesh does not wait', async () => {
    plan = () => inMs(MINUTE_MS);
    await world.putMesh('default', undefined, { enabled: 'new', without: 'ca' });
    expect(await ask()).toMatchObject({ outcome: 'issued', backend: 'new' });
  });
});
