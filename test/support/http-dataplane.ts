import { X509Certificate } from 'node:crypto';
import { createCsr } from '../../src/x509/create-csr.ts';
import { generateKeyPair } from '../../src/x509/key-pair.ts';
import { decodePem, encodePem } from '../../src/x509/pem.ts';
import type { TestApp } from './test-app.ts';

/** A data plane whose control plane asks mesh-ca over HTTP, and that uses at once whatever it gets. */
export interface HttpDataplane {
  readonly name: string;
  /** Of the certificate that it uses. */
  readonly backend: string;
  readonly serialNumber: string;
  /** Of the bundle that it holds. */
  readonly bundleVersion: string;
  /** Asks for its certificate; it is told which one it uses. */
  renew(test: TestApp): Promise<string>;
  /** Takes the newest bundle; says that it holds it only when `says` is true. */
  takeBundle(test: TestApp, says?: boolean): Promise<void>;
  /** What a control plane does again and again. */
  live(test: TestApp): Promise<void>;
  /** Whether a connection to the other one would be made: its certificate ends in a root that this one holds. */
  trusts(other: HttpDataplane): boolean;
  readonly leaf: X509Certificate;
}

/** It has a certificate and holds a bundle, which it has said. */
export async function startHttpDataplane(
  test: TestApp,
  mesh: string,
  name: string,
  service = name.replace(/-\d+$/, ''),
): Promise<HttpDataplane> {
  const keyPair = await generateKeyPair('EC-P256');
  const path = `/meshes/${mesh}/dataplanes/${name}`;
  const csr = encodePem('CERTIFICATE REQUEST', createCsr(keyPair, { uriSans: [], dnsNames: [], commonName: '' }));
  let certificate: string | undefined;
  let leaf: X509Certificate | undefined;
  let backend = '';
  let serialNumber = '';
  let version = '';
  let roots: X509Certificate[] = [];

  const takeRoots = (newer: string, pem: string) => {
    version = newer;
    roots = decodePem(pem).map(({ der }) => new X509Certificate(der));
  };
  const self: HttpDataplane = {
    name,
    get backend() {
      return backend;
    },
    get serialNumber() {
      return serialNumber;
    },
    get bundleVersion() {
      return version;
    },
    get leaf() {
      if (leaf === undefined) throw new Error(`${name} has no certificate`);
      return leaf;
    },
    async renew(test) {
      const current = certificate === undefined ? {} : { current: certificate };
      const { json } = await test.ok('POST', `${path}/_certificate`, {
        tags: { 'kuma.io/service': service },
        csr,
        ...current,
      });
      certificate = String(json.certificate);
      leaf = new X509Certificate(certificate);
      backend = String(json.backend);
      serialNumber = String(json.serialNumber);
      if (version === '') takeRoots(String(json.trustBundle?.version), String(json.trustBundle?.pem));
      return String(json.outcome);
    },
    async takeBundle(test, says = true) {
      for (;;) {
        const held: Record<string, string> = says ? { 'if-none-match': `"${version}"` } : {};
        const { status, headers, text } = await test.request('GET', `${path}/_trust-bundle`, undefined, held);
        if (status === 304) return;
        if (status !== 200) throw new Error(`${path}/_trust-bundle: ${status} ${text}`);
        takeRoots(headers.get('etag')?.replaceAll('"', '') ?? '', text);
        if (!says) return;
      }
    },
    async live(test) {
      await self.takeBundle(test);
      await self.renew(test);
    },
    trusts: (other) => roots.some((root) => other.leaf.verify(root.publicKey)),
  };
  await self.renew(test);
  await self.takeBundle(test);
  return self;
}
