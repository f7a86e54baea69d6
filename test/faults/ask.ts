import { createPrivateKey, X509Certificate } from 'node:crypto';
import { ERROR_CODES } from '../../src/issuer/errors.ts';
import { decodePem } from '../../src/x509/pem.ts';
import type { Answer, TestApp } from '../support/test-app.ts';
import { BACKEND, MESH, serviceSan } from './fault-world.ts';
import type { Seen } from './faults.ts';

/** One request for a certificate, and what came of it. */
export interface Asked {
  readonly service: string;
  readonly seen: Seen;
  /** '' for a certificate; else the detail without what differs between data planes. */
  readonly message: string;
  readonly answer: Answer;
}

export async function askForCertificate(test: TestApp, service: string): Promise<Asked> {
  const answer = await test.request('POST', `/meshes/${MESH}/dataplanes/${service}/_certificate`, {
    tags: { 'kuma.io/service': service },
  });
  if (answer.status === 201) return { service, seen: 'served', message: '', answer };
  const code = ERROR_CODES.find((known) => known === String(answer.json.code)) ?? 'ERR_INTERNAL';
  return { service, seen: code, message: generalized(String(answer.json.detail), service), answer };
}

/** The same for all data planes: without names, serial numbers, request ids and times. */
function generalized(text: string, service: string): string {
  return text
    .replaceAll(service, '<service>')
    .replaceAll(/\b[0-9a-f]{16,}\b|\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/gi, '<id>')
    .replaceAll(/\b\d{4}-\d\d-\d\dT[\d:.]+Z/g, '<time>');
}

/** Codes of errors after which the same request may be made again as it is. */
const RETRIED: ReadonlySet<Seen> = new Set([
  'ERR_ISSUER_UNAVAILABLE',
  'ERR_ISSUER_RATE_LIMITED',
  'ERR_ISSUANCE_PENDING',
]);

/** What is wrong with an answer, whatever the fault: a bad certificate, or an error that does not help. */
export function failuresOf({ service, seen, message, answer }: Asked, says: RegExp | undefined): string[] {
  if (seen === 'served') return certificateFailures(service, answer);
  const { fix, retry, retryAfterSeconds } = answer.json;
  const wrong = (what: string) => `${seen} ${what}: ${message}`;
  const failures: string[] = [];
  if (String(fix ?? '') === '') failures.push(wrong('without fix'));
  if (Boolean(retry) !== RETRIED.has(seen)) failures.push(wrong(`says retry ${retry}`));
  if (RETRIED.has(seen) && !(Number(retryAfterSeconds) > 0)) failures.push(wrong('does not say when to ask again'));
  if (!message.includes(`${BACKEND})`)) failures.push(wrong('does not name the backend'));
  if (says !== undefined && !says.test(`${message} ${fix}`)) failures.push(wrong(`does not say ${says}, fix "${fix}"`));
  return failures;
}

/** As a proxy would look at it, with another X.509 library than mesh-ca's own. */
function certificateFailures(service: string, answer: Answer): string[] {
  const { json } = answer;
  const [leaf, ...chain] = pathOf(answer);
  const failures: string[] = [];
  const holdsTogether = chain.every((issuer, index) => (chain[index - 1] ?? leaf)?.verify(issuer.publicKey));
  if (!leaf?.subjectAltName?.includes(`URI:${serviceSan(service)}`)) failures.push('a certificate for somebody else');
  if (!leaf?.checkPrivateKey(createPrivateKey(String(json.privateKey)))) failures.push('a certificate for another key');
  if (leaf === undefined || new Date(leaf.validTo) <= new Date()) failures.push('a certificate that has expired');
  if (!holdsTogether) failures.push('a chain that does not hold together');
  if (!isTrusted(answer, String(json.trustBundle?.pem))) failures.push('a certificate of no root in its bundle');
  return failures;
}

/** Whether what was served leads to a root of this bundle, in PEM. */
export function isTrusted(answer: Answer, bundlePem: string): boolean {
  const last = pathOf(answer).at(-1);
  const roots = decodePem(bundlePem).map(({ der }) => new X509Certificate(der));
  return roots.some((root) => last?.verify(root.publicKey));
}

/** The leaf, its issuer, and so on, without root. */
function pathOf({ json }: Answer): X509Certificate[] {
  const path = [new X509Certificate(String(json.certificate))];
  for (let index = 0; json.caChain?.[index] !== undefined; index += 1) {
    path.push(new X509Certificate(String(json.caChain[index])));
  }
  return path;
}

export const describeAsked = ({ seen, message }: Asked): string => (message === '' ? seen : `${seen}: ${message}`);
