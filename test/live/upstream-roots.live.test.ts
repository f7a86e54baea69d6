import { X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/runtime/clock.ts';
import { type StartedOpenBao, startOpenBao } from '../../testcontainers/openbao.ts';
import { setUpPki, type VaultPki } from '../../testcontainers/vault-pki.ts';
import { dataplane, startTestApp, type TestApp } from '../support/test-app.ts';

/** A minute passes when the test says so; who sleeps for seconds looks at it often enough. Deadlines, and the time of day, are real. */
const clock = {
  ...systemClock,
  aheadMs: 0,
  monotonicMs: () => systemClock.monotonicMs() + clock.aheadMs,
  sleep: (ms: number, signal?: AbortSignal) => systemClock.sleep(Math.min(ms, 250), signal),
};
const passMinute = () => {
  clock.aheadMs += 60_000;
};

let bao: StartedOpenBao;
let pki: VaultPki;
let test: TestApp;
beforeAll(async () => {
  bao = await startOpenBao({ print: (line) => void process.stdout.write(`${line}\n`) });
  pki = await setUpPki(bao, { policy: 'both' });
  test = await startTestApp({}, { clock });
  const conf = {
    fromCp: { address: bao.address, pki: pki.mount, role: pki.role, auth: { token: { inlineString: pki.token } } },
  };
  await test.ok('PUT', '/meshes/default', {
    type: 'Mesh',
    name: 'default',
    mtls: { enabledBackend: 'vault-1', backends: [{ name: 'vault-1', type: 'vault', conf }] },
  });
});
afterAll(async () => {
  await test?.close();
  await bao?.close();
});

interface Proxy {
  readonly name: string;
  version: number;
  /** PEM of the bundle that it trusts. */
  trusts: string;
  leaf: string;
}
const proxies: Proxy[] = ['web', 'api'].map((name) => ({ name, version: 0, trusts: '', leaf: '' }));
const [web, api] = proxies;

const pathOf = (proxy: Proxy | undefined, what: string) => `/meshes/default/dataplanes/${proxy?.name}/${what}`;

/** Asks for a certificate; what is trusted already stays. */
async function renew(proxy: Proxy | undefined): Promise<void> {
  const { json } = await test.ok('POST', pathOf(proxy, '_certificate?force=true'), {});
  if (proxy !== undefined) proxy.leaf = String(json.certificate);
}

/** Takes the next version when it comes, and says so. */
async function follow(proxy: Proxy | undefined): Promise<void> {
  if (proxy === undefined) return;
  const state = { 'if-none-match': `"${proxy.version}"` };
  const { status, headers, text } = await test.request(
    'GET',
    pathOf(proxy, '_trust-bundle?wait=300s'),
    undefined,
    state,
  );
  if (status !== 200) return;
  // Its workers take a while.
  await systemClock.sleep(400);
  Object.assign(proxy, { version: Number(headers.get('etag')?.replaceAll('"', '')), trusts: text });
  await test.request('GET', pathOf(proxy, '_trust-bundle'), undefined, { 'if-none-match': `"${proxy.version}"` });
}

/** Every certificate that is in use is trusted by everybody. */
function failingConnections(): string[] {
  return proxies.flatMap((server) =>
    proxies
      .filter((client) => !isTrusted(server.leaf, client.trusts))
      .map((client) => `${client.name} to ${server.name}`),
  );
}
function isTrusted(leafPem: string, bundlePem: string): boolean {
  const leaf = new X509Certificate(leafPem);
  const roots = bundlePem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return roots.some(
    (root) => leaf.checkIssued(new X509Certificate(root)) && leaf.verify(new X509Certificate(root).publicKey),
  );
}

/** A second CA in the mount, as an operator rotates the root of a Vault. Its id. */
async function addIssuer(name: string): Promise<void> {
  await bao.must('POST', `${pki.mount}/root/generate/internal`, {
    common_name: `root ${name}`,
    issuer_name: name,
    ttl: '8760h',
  });
}
const makeDefault = (name: string) => bao.must('POST', `${pki.mount}/config/issuers`, { default: name });
const issuerOf = ({ leaf }: Proxy = { name: '', version: 0, trusts: '', leaf: '' }) => new X509Certificate(leaf).issuer;

describe('roots that change in a real vault', () => {
  it('begin with one that everybody trusts', async () => {
    for (const proxy of proxies) {
      await test.ok(
        'PUT',
        pathOf(proxy, '').replace(/\/$/, ''),
        dataplane('default', proxy.name, { 'kuma.io/service': proxy.name }),
      );
      await renew(proxy);
      await follow(proxy);
    }
    expect([failingConnections(), proxies.map(({ version }) => version)]).toEqual([[], [1, 1]]);
  });

  it('join the bundle when an issuer is added, before it signs', async () => {
    const following = proxies.map(follow);
    await addIssuer('next');
    passMinute();
    await Promise.all(following);
    expect([failingConnections(), proxies.map(({ version }) => version)]).toEqual([[], [2, 2]]);
    await renew(web);
    expect(issuerOf(web)).not.toContain('root next');
  });

  it('break nothing when it becomes the default', async () => {
    await makeDefault('next');
    passMinute();
    await renew(api);
    expect([issuerOf(api), failingConnections()]).toEqual(['CN=root next', []]);
    await renew(web);
    expect([issuerOf(web), failingConnections()]).toEqual(['CN=root next', []]);
  });

  it('break nothing even when a new issuer signs at once: its certificate waits until everybody trusts it', async () => {
    const following = proxies.map(follow);
    await addIssuer('sudden');
    await makeDefault('sudden');
    await renew(api);
    expect([issuerOf(api), failingConnections()]).toEqual(['CN=root sudden', []]);
    await Promise.all(following);
    expect(proxies.map(({ version }) => version)).toEqual([3, 3]);
    expect(test.log.filter((line) => line.includes('before every data plane trusts it'))).toEqual([]);
  });

  it('cost no certificate beside those that were asked for', async () => {
    const { json } = await test.ok('GET', '/meshes/default/dataplanes/_overview');
    const counts = [0, 1].map((index) => json.items?.[index]?.dataplaneInsight?.mTLS?.certificateRegenerations);
    expect(counts).toEqual([3, 3]);
  });
});
