import type { HttpAnswer } from './response-reader.ts';

/** Four URI SANs: the SPIFFE ID and one for each tag. */
const TAGS = { 'kuma.io/service': 'backend', 'kuma.io/zone': 'east', version: 'v1' };
const URI_SANS = 'spiffe://default/backend,kuma://kuma.io/service/backend,kuma://kuma.io/zone/east,kuma://version/v1';

type MakeRequest = (index: number) => string;

/**
 * Requests for certificates, each for a data plane of its own, so that none is reused. CSRs begin again from the first when there are no
 * more: nothing that a server keeps depends on the key alone, so the work is the same.
 * @param csrs PEM; none: mesh-ca or its backend makes the key
 */
export function certificateRequests(mesh: string, csrs: readonly string[]): MakeRequest {
  const bodies = csrs.length === 0 ? [{ tags: TAGS }] : csrs.map((csr) => ({ csr, tags: TAGS }));
  const tails = bodies.map((body) => tailOf({}, body));
  return (index) =>
    `POST /meshes/${mesh}/dataplanes/dp-${index}/_certificate HTTP/1.1\r\n${tails[index % tails.length] ?? ''}`;
}

/** The same certificates asked of OpenBao itself. */
export function signRequests(mount: string, role: string, token: string, csrs: readonly string[]): MakeRequest {
  const head = `POST /v1/${mount}/sign/${role} HTTP/1.1\r\n`;
  const requests = csrs.map((csr) => {
    const body = { csr, uri_sans: URI_SANS, exclude_cn_from_sans: true, ttl: '720h', format: 'pem' };
    return head + tailOf({ 'x-vault-token': token, 'x-vault-request': 'true' }, body);
  });
  return (index) => requests[index % requests.length] ?? '';
}

function tailOf(headers: Readonly<Record<string, string>>, body: object): string {
  const text = JSON.stringify(body);
  const lines = Object.entries({
    host: '127.0.0.1',
    'content-type': 'application/json',
    ...headers,
    'content-length': String(text.length),
  }).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${lines.join('')}\r\n${text}`;
}

export function judgeIssued({ status, body }: HttpAnswer): string | undefined {
  if (status === 201 && body.includes('"outcome":"issued"')) return undefined;
  return `mesh-ca answered ${status}: ${body.toString('utf8', 0, 600)}`;
}

export function judgeSigned({ status, body }: HttpAnswer): string | undefined {
  if (status === 200 && body.includes('-----BEGIN CERTIFICATE-----')) return undefined;
  return `OpenBao answered ${status}: ${body.toString('utf8', 0, 600)}`;
}
