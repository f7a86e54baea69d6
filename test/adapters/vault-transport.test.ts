import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { ConfigError, IssuerUnavailableError } from '../../src/issuer/errors.ts';
import { makeServerCertificate } from '../../testcontainers/server-certificate.ts';
import { live } from '../conformance/issuer.ts';
import { createTestDeps } from '../conformance/issuer-deps.ts';
import { startFakeVault } from '../fakes/fake-vault.ts';
import { confFor, createIssuer, GRANTS, startBackend } from '../fakes/vault-backend.ts';
import { IDENTITY } from '../support/identity.ts';
import { inspectAll } from '../support/inspect-all.ts';

afterEach(() => vi.unstubAllEnvs());

const DECOY = 'env-token-that-must-not-leak';

describe('the way to vault', () => {
  it('is decided by the conf alone: nothing of the environment leaks in', async () => {
    const decoy = await startFakeVault({ now: () => new Date(0) });
    onTestFinished(decoy.close);
    vi.stubEnv('VAULT_ADDR', decoy.address);
    vi.stubEnv('VAULT_TOKEN', DECOY);
    vi.stubEnv('VAULT_NAMESPACE', 'env-namespace');
    vi.stubEnv('VAULT_PREFIX', '/env-prefix');
    vi.stubEnv('HTTP_PROXY', decoy.address);
    vi.stubEnv('http_proxy', decoy.address);
    vi.stubEnv('ALL_PROXY', decoy.address);
    const { vault, issuer, sign } = await startBackend(onTestFinished);
    await sign();
    await issuer.trustBundle(live());
    await inspectAll(issuer);
    expect(decoy.connections().opened).toBe(0);
    expect(vault.seen.length).toBeGreaterThan(5);
    for (const { path, headers } of vault.seen) {
      expect(path).not.toContain('env-');
      expect(JSON.stringify(headers)).not.toContain('env-');
    }
  });

  it('carries the namespace on every call but health, which only the root namespace answers', async () => {
    const { vault, issuer, sign } = await startBackend(onTestFinished, ['sign', 'readRole'], { namespace: 'team/a' });
    await sign();
    await inspectAll(issuer);
    for (const { path, headers } of vault.seen) {
      expect(headers['x-vault-namespace'], path).toBe(path === 'sys/health' ? undefined : 'team/a');
    }
  });

  it('keeps the path of an address in front of the API', async () => {
    const { vault, deps } = await startBackend(onTestFinished);
    const issuer = createIssuer(confFor({ address: `${vault.address}/behind/proxy/`, token: vault.token }), deps);
    onTestFinished(() => issuer.close());
    await issuer.trustBundle(live()).catch(() => {});
    expect(vault.seen.at(-1)?.path).toBe('/behind/proxy/v1/kmesh-pki-default/cert/ca_chain');
  });

  it.each([301, 302, 307, 308])('never follows a redirect (%i): the token would go along', async (status) => {
    const other = await startFakeVault({ now: () => new Date(0) });
    onTestFinished(other.close);
    const { vault, sign } = await startBackend(onTestFinished);
    vault.fault = ({ path }) => ({ status, headers: { location: `${other.address}/v1/${path}` } });
    await expect(sign()).rejects.toThrow(IssuerUnavailableError);
    expect(other.connections().opened).toBe(0);
  });

  it('uses one connection for many calls, one after the other', async () => {
    const { vault, sign } = await startBackend(onTestFinished);
    for (let i = 0; i < 20; i++) await sign();
    expect(vault.connections()).toEqual({ opened: 1, open: 1 });
  });

  it('opens no more connections than calls at once, and uses them again', async () => {
    const { vault, sign } = await startBackend(onTestFinished);
    for (let round = 0; round < 3; round++) await Promise.all(Array.from({ length: 8 }, () => sign()));
    expect(vault.connections().opened).toBeLessThanOrEqual(9);
  });

  it('survives a server that closed idle connections', async () => {
    const deps = createTestDeps();
    const vault = await startFakeVault({ now: deps.clock.now });
    for (const grant of [GRANTS.issue]) vault.grants.set(...grant);
    const issuer = createIssuer(confFor(vault), deps);
    onTestFinished(async () => {
      await issuer.close();
      await vault.close();
    });
    const issue = () => issuer.issueKeyPair({ identity: IDENTITY, ttlSeconds: 60, requestId: '1' }, live());
    await issue();
    vault.dropIdleConnections();
    await expect(issue()).resolves.toBeDefined();
  });
});

describe('the TLS way to vault', () => {
  async function startTls(
    names: readonly string[],
    tls: (caPem: string) => unknown,
    file: { content: string } = { content: '' },
  ) {
    const folder = await mkdtemp(join(tmpdir(), 'mesh-ca-fake-vault-'));
    const certificate = await makeServerCertificate(folder, names);
    const testDeps = createTestDeps();
    const load: typeof testDeps.load = async (source, options) =>
      source.kind === 'file' ? Buffer.from(file.content) : testDeps.load(source, options);
    const deps = { ...testDeps, load };
    const vault = await startFakeVault({ now: deps.clock.now, tls: certificate });
    vault.grants.set(...GRANTS.issue);
    const caPem = await readFile(certificate.caCertFile, 'utf8');
    const issuer = createIssuer(confFor(vault, { tls: tls(caPem) }), deps);
    onTestFinished(async () => {
      await issuer.close();
      await vault.close();
      await rm(folder, { recursive: true, force: true });
    });
    const issue = () => issuer.issueKeyPair({ identity: IDENTITY, ttlSeconds: 60, requestId: '1' }, live());
    return { vault, issuer, issue, deps, caPem };
  }

  it('trusts the CA of the conf, and keeps one connection', async () => {
    const { vault, issue } = await startTls(['IP:127.0.0.1'], (ca) => ({ caCert: { inlineString: ca } }));
    for (let i = 0; i < 10; i++) await issue();
    expect(vault.connections()).toEqual({ opened: 1, open: 1 });
  });

  it('checks the name that serverName tells instead of the address', async () => {
    const { issue } = await startTls(['DNS:vault.test'], (ca) => ({
      caCert: { inlineString: ca },
      serverName: 'vault.test',
    }));
    await expect(issue()).resolves.toBeDefined();
  });

  it('is told to be open to anybody when skipVerify is set', async () => {
    const { issuer } = await startTls(['DNS:vault.test'], () => ({ skipVerify: true }));
    const checks = await inspectAll(issuer);
    expect(checks.find(({ name }) => name === 'vault.tls-trusted')).toMatchObject({
      ...{ status: 'warning', field: 'fromCp.tls.skipVerify' },
      fix: expect.stringContaining('fromCp.tls.caCert'),
    });
    expect(checks.find(({ name }) => name === 'vault.tls-name')?.status).toBe('skipped');
  });

  it('refuses a certificate for another name', async () => {
    const { issuer, issue } = await startTls(['DNS:vault.test'], (ca) => ({ caCert: { inlineString: ca } }));
    await expect(issue()).rejects.toThrow(/certificate for another name/);
    const checks = await inspectAll(issuer);
    expect(checks.at(-1)).toMatchObject({
      name: 'vault.tls-name',
      status: 'failed',
      message: expect.stringContaining('it is for DNS:vault.test'),
      fix: expect.stringContaining('set fromCp.tls.serverName to vault.test'),
    });
  });

  it.each([['false'], ['true'], ['1']])(
    'refuses a certificate of an unknown CA, even with VAULT_SKIP_VERIFY=%s',
    async (value) => {
      vi.stubEnv('VAULT_SKIP_VERIFY', value);
      vi.stubEnv('NODE_TLS_REJECT_UNAUTHORIZED', '0');
      const { vault, issue } = await startTls(['IP:127.0.0.1'], () => ({}));
      await expect(issue()).rejects.toThrow(/not trusted/);
      expect(vault.seen).toEqual([]);
    },
  );

  it('checks nothing when the conf says so', async () => {
    const { issue } = await startTls(['DNS:vault.test'], () => ({ skipVerify: true }));
    await expect(issue()).resolves.toBeDefined();
  });

  it('reads the CA certificate again after a server was not trusted, at most once a second', async () => {
    const other = await mkdtemp(join(tmpdir(), 'mesh-ca-other-'));
    onTestFinished(() => rm(other, { recursive: true, force: true }));
    const { caCertFile } = await makeServerCertificate(other, ['DNS:other.test']);
    const file = { content: await readFile(caCertFile, 'utf8') };
    const { vault, issue, deps, caPem } = await startTls(
      ['IP:127.0.0.1'],
      () => ({ caCert: { file: '/ca.pem' } }),
      file,
    );
    await expect(issue()).rejects.toThrow(/not trusted/);
    file.content = caPem;
    await expect(issue()).rejects.toThrow(/not trusted/);
    deps.clock.advance(1_000);
    await expect(issue()).resolves.toBeDefined();
    await expect(issue()).resolves.toBeDefined();
    expect(vault.connections()).toEqual({ opened: 1, open: 1 });
  });

  it.each([
    ['text', 'hello'],
    ['a broken certificate', '-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n'],
  ])('refuses %s as CA certificate, naming the field', async (_what, text) => {
    const { issue } = await startTls(['IP:127.0.0.1'], () => ({ caCert: { inlineString: text } }));
    const error = await issue().catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(ConfigError);
    expect(error).toMatchObject({ violations: [{ field: 'fromCp.tls.caCert' }] });
  });
});
