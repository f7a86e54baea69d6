import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { uriSansOf } from '../../src/mesh/identity.ts';
import { parseTags } from '../../src/mesh/tags.ts';
import { parseCertificate } from '../../src/x509/certificate.ts';
import { parseCsr } from '../../src/x509/csr.ts';
import { generateKeyPair } from '../../src/x509/key-pair.ts';
import { createLeafSigner } from '../../src/x509/leaf-signer.ts';
import { decodePem, encodePem } from '../../src/x509/pem.ts';
import { createRootCertificate } from '../../src/x509/root-certificate.ts';
import { parseSubjectPublicKey } from '../../src/x509/subject-public-key.ts';

export interface Received {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Record<string, unknown>;
}

/** What is answered; `text` as it is, `json` as JSON. */
export interface Reply {
  readonly status: number;
  readonly json?: unknown;
  readonly text?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** `hang` never answers; `drop` closes the connection without an answer. */
export type Canned = Reply | 'hang' | 'drop';

export interface FakeApi {
  readonly address: string;
  readonly received: Received[];
  /** Resources by path. */
  readonly resources: Map<string, Record<string, unknown>>;
  readonly overviews: Record<string, unknown>[];
  /** Answers instead of the fake's own, by `METHOD path`. */
  readonly canned: Map<string, Canned | (() => Canned)>;
  keyTypes: string[];
  bundleVersion: number;
  /** Signs this key instead of the caller's: an answer that was tampered with. */
  foreignKey: boolean;
  close(): Promise<void>;
}

const ACTION = /^\/meshes\/([^/]+)\/dataplanes\/([^/]+)\/(_[a-z-]+)$/;
const LIST = /^\/meshes$|^\/meshes\/[^/]+\/(secrets|dataplanes)$/;
const PAGE = 2;
const TIMES = { creationTime: '2026-01-02T03:00:05Z', modificationTime: '2026-01-02T03:00:05Z' };

/** Behaves like the API as far as the commands look: keeps resources, pages lists by two, signs certificates. */
export async function startFakeApi(): Promise<FakeApi> {
  const caKey = await generateKeyPair('EC-P256');
  const notBefore = new Date('2026-01-01T00:00:00Z');
  const notAfter = new Date('2036-01-01T00:00:00Z');
  const rootDer = await createRootCertificate({
    keyPair: caKey,
    subject: { organization: 'Kuma', organizationalUnit: 'Mesh', commonName: 'default' },
    uriSan: 'spiffe://default',
    notBefore,
    notAfter,
    serialNumber: Buffer.of(1),
  });
  const rootPem = encodePem('CERTIFICATE', rootDer);
  const signer = createLeafSigner({ certificate: parseCertificate(rootDer), privateKey: caKey.privateKey });
  const certificates = new Map<string, { pem: string; serial: string }>();
  let serials = 16;

  const responses = new Set<ServerResponse>();
  const server = createServer((request, response) => {
    responses.add(response);
    void handle(request)
      .catch((error: unknown): Reply => ({ status: 500, json: { title: 'Fake broke', detail: String(error) } }))
      .then((reply) => {
        if (reply === 'hang') return;
        if (reply === 'drop') {
          response.destroy();
          return;
        }
        response.writeHead(reply.status, { 'content-type': 'application/json', ...reply.headers });
        response.end(reply.text ?? (reply.json === undefined ? undefined : JSON.stringify(reply.json)));
      });
  });

  async function handle(request: IncomingMessage): Promise<Canned> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString();
    const { method = '', url = '/', headers } = request;
    const { pathname, searchParams } = new URL(url, 'http://fake');
    const body = text === '' ? {} : JSON.parse(text);
    fake.received.push({ method, path: url, headers, body });
    const canned = fake.canned.get(`${method} ${pathname}`);
    if (canned !== undefined) return typeof canned === 'function' ? canned() : canned;
    const [, mesh = '', dataplane = '', call = ''] = ACTION.exec(pathname) ?? [];
    if (call === '_trust-bundle') return trustBundle(headers['if-none-match']);
    if (call !== '') return act(mesh, dataplane, call, body);
    if (method === 'PUT') return put(pathname, body);
    if (method === 'DELETE') return fake.resources.delete(pathname) ? { status: 200, json: {} } : NOT_FOUND;
    if (pathname.endsWith('/dataplanes/_overview')) return page(fake.overviews, pathname, searchParams);
    const item = fake.resources.get(pathname);
    if (item !== undefined) return { status: 200, json: item };
    if (!LIST.test(pathname)) return NOT_FOUND;
    const below = [...fake.resources].filter(([path]) => path.replace(/\/[^/]+$/, '') === pathname);
    return page(
      below.map(([, value]) => value),
      pathname,
      searchParams,
    );
  }

  function page(all: readonly unknown[], path: string, query: URLSearchParams): Reply {
    const offset = Number(query.get('offset') ?? 0);
    const following = offset + PAGE;
    const next = following < all.length ? `http://inside.example:1234${path}?offset=${following}&size=${PAGE}` : null;
    return { status: 200, json: { total: all.length, items: all.slice(offset, following), next } };
  }

  function put(path: string, body: Record<string, unknown>): Reply {
    const mesh = /^(\/meshes\/[^/]+)\/(?:secrets|dataplanes)\//.exec(path)?.[1];
    if (mesh !== undefined && !fake.resources.has(mesh)) {
      return { status: 404, json: { title: 'Failed to retrieve Mesh', detail: 'Not found', code: 'ERR_NOT_FOUND' } };
    }
    const secrets = [...JSON.stringify(body).matchAll(/"secret":"([^"]+)"/g)].map(([, name]) => name);
    const missing = secrets.find((name) => !fake.resources.has(`${path}/secrets/${name}`));
    if (missing !== undefined) {
      const reason = `could not load data: secret "${missing}" does not exist`;
      return {
        status: 400,
        json: {
          title: 'Failed to create a resource',
          detail: 'Resource is not valid',
          code: 'ERR_CONFIG_INVALID',
          invalid_parameters: ['cert', 'key'].map((key) => ({ field: `mtls.backends[0].conf.${key}`, reason })),
        },
      };
    }
    const status = fake.resources.has(path) ? 200 : 201;
    fake.resources.set(path, { ...body, ...TIMES });
    return { status, json: body.name === 'Odd' ? { warnings: ["Invalid name: 'Odd'"] } : {} };
  }

  function trustBundle(held: string | undefined): Reply {
    const headers = { etag: `"${fake.bundleVersion}"` };
    if (held === headers.etag) return { status: 304, headers };
    return { status: 200, text: `# version ${fake.bundleVersion}\n${rootPem}`, headers };
  }

  async function act(mesh: string, dataplane: string, call: string, body: Record<string, unknown>): Promise<Reply> {
    if (body.tags === undefined) {
      const detail = `there is no Dataplane "${dataplane}" in mesh "${mesh}"`;
      return { status: 400, json: { title: 'Bad Request', detail, code: 'ERR_REQUEST_INVALID', fix: 'send tags' } };
    }
    const uriSans = uriSansOf(mesh, parseTags(body.tags), 'kuma');
    const names = { uriSans, dnsNames: [], commonName: '' };
    if (call === '_identity') return { status: 200, json: { ...names, signsCsrAsIs: false, keyTypes: fake.keyTypes } };
    const own = body.csr === undefined ? await generateKeyPair('EC-P256') : undefined;
    const [csr] = decodePem(String(body.csr ?? ''));
    const asked = own?.spkiDer ?? parseCsr(csr?.der ?? Buffer.alloc(0)).publicKey.spkiDer;
    const spkiDer = fake.foreignKey ? (await generateKeyPair('EC-P256')).spkiDer : asked;
    const keyType = parseSubjectPublicKey(asked).type;
    if (body.csr !== undefined && !fake.keyTypes.includes(keyType)) {
      const detail = `the backend takes no ${keyType} keys`;
      return { status: 400, json: { title: 'Bad Request', detail, code: 'ERR_REQUEST_INVALID' } };
    }
    const memory = `${mesh}/${dataplane}/${spkiDer.toString('hex')}`;
    const known = body.force === true ? undefined : certificates.get(memory);
    serials += 1;
    const serialNumber = Buffer.of(serials);
    const leaf =
      known === undefined ? await signer.sign({ ...names, spkiDer, notBefore, notAfter, serialNumber }) : undefined;
    const issued = known ?? {
      pem: encodePem('CERTIFICATE', leaf ?? serialNumber),
      serial: serialNumber.toString('hex'),
    };
    certificates.set(memory, issued);
    return {
      status: known === undefined ? 201 : 200,
      json: {
        mesh,
        dataplane,
        backend: 'ca-1',
        type: 'builtin',
        certificate: issued.pem,
        caChain: [rootPem],
        ...(own === undefined ? {} : { privateKey: encodePem('PRIVATE KEY', own.pkcs8Der) }),
        serialNumber: issued.serial,
        uriSans,
        commonName: '',
        notBefore,
        notAfter,
        renewAt: '2034-01-01T00:00:00Z',
        outcome: known === undefined ? 'issued' : 'reused',
        trustBundle: { version: '6', pem: rootPem },
      },
    };
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  const fake: FakeApi = {
    address: `http://127.0.0.1:${port}`,
    received: [],
    resources: new Map(),
    overviews: [],
    canned: new Map(),
    keyTypes: ['EC-P256', 'RSA-2048'],
    bundleVersion: 6,
    foreignKey: false,
    async close() {
      for (const response of responses) response.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return fake;
}

const NOT_FOUND: Reply = {
  status: 404,
  json: { title: 'Could not retrieve a resource', detail: 'Not found', code: 'ERR_NOT_FOUND' },
};
