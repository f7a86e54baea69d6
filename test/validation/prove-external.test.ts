import { describe, expect, it, onTestFinished } from 'vitest';
import { module as acmpca } from '../../adapters/acmpca/module.ts';
import { module as certmanager } from '../../adapters/certmanager/module.ts';
import { module as vault } from '../../adapters/vault/module.ts';
import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import type { Clock } from '../../src/runtime/clock.ts';
import { type Proof, proveBackend } from '../../src/validation/prove-backend.ts';
import { confOf, depsOf, hurriedClock, startFake } from '../adapters/acmpca-setup.ts';
import { startBackend as startCertManager } from '../adapters/certmanager-backend.ts';
import { startBackend as startVault } from '../fakes/vault-backend.ts';
import { backendOf, proveDeps } from './proving-ground.ts';

const live = () => ({ signal: new AbortController().signal });
const troubles = ({ checks }: Proof) => checks.filter(({ status }) => status === 'failed' || status === 'warning');
const statusOf = ({ checks }: Proof, wanted: string) => checks.find(({ name }) => name === wanted)?.status;

describe('the proof of a backend elsewhere', () => {
  it('acmpca: every check passes, the two on the test certificate and its handshake among them', async () => {
    const pca = await startFake();
    const deps = depsOf(pca);
    const context = { mesh: 'default', backend: 'ca-1' };
    const issuer = acmpca.create(context, acmpca.parseConf(confOf(pca), context), deps);
    onTestFinished(() => issuer.close());
    const proof = await proveBackend(backendOf(acmpca, issuer, hurriedClock), proveDeps(hurriedClock), live());
    expect(troubles(proof)).toEqual([]);
    expect(statusOf(proof, 'certificate.handshake')).toBe('passed');
    expect(proof.checks.length).toBeGreaterThanOrEqual(12);
  });

  it('certmanager: every check passes though its root is known with the certificate only, and no CertificateRequest is left', async () => {
    const { issuer, leftovers } = await startCertManager(onTestFinished);
    const proof = await proveBackend(backendOf(certmanager, issuer), proveDeps(), live());
    expect(proof.checks.filter(({ status }) => status === 'failed')).toEqual([]);
    expect(statusOf(proof, 'certificate.handshake')).toBe('passed');
    expect(proof.checks.length).toBeGreaterThanOrEqual(12);
    expect(await leftovers()).toEqual([]);
  });

  it.each<[string, Parameters<typeof startVault>[1]]>([
    ['that may sign', ['sign', 'readRole', 'readIssuer']],
    ['that may only issue', ['issue', 'readRole', 'readIssuer']],
  ])('vault, with a token %s: nothing fails', async (_, grants) => {
    const { issuer, deps, vault: server } = await startVault(onTestFinished, grants);
    server.pki.role = server.pki.role && { ...server.pki.role, key_type: 'ec', key_bits: 256 };
    const clock: Clock & IssuerDeps['clock'] = deps.clock;
    const proof = await proveBackend(backendOf(vault, issuer, clock), proveDeps(clock), live());
    expect(proof.checks.filter(({ status }) => status === 'failed')).toEqual([]);
    expect(statusOf(proof, 'certificate.handshake')).toBe('passed');
  });
});
