import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CertificateAnswer } from '../../src/issuance/certificate-request.ts';
import { type CertificatesWorld, createCertificatesWorld } from './certificates-world.ts';

let world: CertificatesWorld;
let first: CertificateAnswer;
beforeEach(async () => {
  world = await createCertificatesWorld();
  await world.putMesh('default');
  first = await world.issue('default', 'web-1');
});
afterEach(() => world.close());

const holding = (...currentDer: readonly Buffer[]) => world.issue('default', 'web-1', { withCsr: false, currentDer });

describe('a caller in this process that tells what it holds as DER', () => {
  it('keeps the certificate that it was answered last', async () => {
    expect(await holding(first.leaf, ...first.chain)).toMatchObject({
      outcome: 'kept',
      serialNumber: first.serialNumber,
      rootHashes: first.rootHashes,
    });
  });

  it('keeps an older one that proves itself, and gets a new one for that of somebody else', async () => {
    const second = await world.issue('default', 'web-1', { withCsr: false, force: true });
    expect(second.serialNumber).not.toBe(first.serialNumber);
    expect(await holding(first.leaf)).toMatchObject({ outcome: 'kept', serialNumber: first.serialNumber });
    const other = await world.issue('default', 'db-1', { service: 'db' });
    expect((await holding(other.leaf)).outcome).toBe('issued');
  });

  it('is refused with field `current` when it holds no certificate', async () => {
    await expect(holding(Buffer.from('x'))).rejects.toMatchObject({ code: 'ERR_REQUEST_INVALID' });
    await expect(holding()).rejects.toMatchObject({ violations: [{ field: 'current' }] });
  });
});
