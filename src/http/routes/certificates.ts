import type { CertificateAnswer, StaleReason } from '../../issuance/certificate-request.ts';
import type { Certificates } from '../../issuance/certificates.ts';
import { issueMany } from '../../issuance/issue-many.ts';
import type { LastSeen } from '../../issuance/last-seen.ts';
import type { Holders } from '../../trust/holders.ts';
import { encodePem } from '../../x509/pem.ts';
import { causeJson } from '../problem.ts';
import type { Line } from '../read-lines.ts';
import { readTags, requireName } from '../read-names.ts';
import { json, type Route, route } from '../route.ts';
import {
  type CertificateLine,
  type CertificateRequestBody,
  certificateAnswer,
  certificateLine,
  certificateLineAnswer,
  certificateRequest,
  type IdentityRequestBody,
  identityAnswer,
  identityRequest,
} from '../schemas.ts';

/** A CSR with 256 SANs, a chain and all tags fit. */
const MAX_BODY_BYTES = 128 * 1024;

export interface CertificateRoutesOptions {
  readonly certificates: Certificates;
  readonly lastSeen: LastSeen;
  readonly holders: Holders;
}

/** The main job. */
export function certificateRoutes({ certificates, lastSeen, holders }: CertificateRoutesOptions): readonly Route[] {
  const issue = async (
    mesh: string,
    dataplane: string,
    body: CertificateRequestBody,
    signal: () => AbortSignal,
  ): Promise<CertificateAnswer> => {
    requireName('dataplane', dataplane);
    // Who asks is there, also when the backend is not.
    lastSeen.note(mesh, dataplane);
    const answer = await certificates.issue(
      {
        mesh,
        dataplane,
        ...(body.tags === undefined ? {} : { tags: readTags(body.tags) }),
        ...(body.csr === undefined ? {} : { csrPem: body.csr }),
        ...(body.current === undefined ? {} : { currentPem: body.current }),
        ...(body.force === undefined ? {} : { force: body.force }),
      },
      {
        get signal() {
          return signal();
        },
      },
    );
    // It was sent as `current`.
    if (answer.outcome === 'kept') holders.uses(mesh, dataplane, answer.serialNumber);
    return answer;
  };
  return [
    route<CertificateRequestBody>({
      method: 'POST',
      path: '/meshes/:mesh/dataplanes/:dataplane/_certificate',
      summary: 'A certificate for a data plane; the same one again while it stands',
      tag: 'certificates',
      access: 'admin',
      hot: true,
      body: { kind: 'json', schema: certificateRequest, maxBytes: MAX_BODY_BYTES, optional: true },
      answers: {
        201: { description: 'A new certificate', content: { 'application/json': certificateAnswer } },
        200: { description: 'The certificate there is', content: { 'application/json': certificateAnswer } },
      },
      async handle(call) {
        const { mesh = '', dataplane = '' } = call.params;
        const answer = await issue(mesh, dataplane, call.body, () => call.signal);
        return json(answer.outcome === 'issued' ? 201 : 200, answerJson(answer));
      },
    }),
    route<IdentityRequestBody>({
      method: 'POST',
      path: '/meshes/:mesh/dataplanes/:dataplane/_identity',
      summary: 'What a CSR for this data plane should carry',
      tag: 'certificates',
      access: 'admin',
      body: { kind: 'json', schema: identityRequest, maxBytes: MAX_BODY_BYTES, optional: true },
      answers: { 200: { description: 'Names and key types', content: { 'application/json': identityAnswer } } },
      async handle({ params: { mesh = '', dataplane = '' }, body, signal }) {
        requireName('dataplane', dataplane);
        return json(
          200,
          await certificates.identity(mesh, dataplane, body.tags === undefined ? undefined : readTags(body.tags), {
            signal,
          }),
        );
      },
    }),
    route<AsyncIterable<Line<CertificateLine>>>({
      method: 'POST',
      path: '/meshes/:mesh/_certificates',
      summary: 'Certificates for many data planes, a JSON object a line in and out, answers in any order',
      tag: 'certificates',
      access: 'admin',
      body: { kind: 'lines', schema: certificateLine, maxLineBytes: MAX_BODY_BYTES },
      answers: {
        200: {
          description: 'An answer, or {dataplane, error}, a line',
          content: { 'application/x-ndjson': certificateLineAnswer },
        },
      },
      handle(call) {
        const { mesh = '' } = call.params;
        const { signal } = call;
        const work = async (line: Line<CertificateLine>): Promise<string> => {
          try {
            if (line.value === undefined) throw line.error;
            return `${JSON.stringify(answerJson(await issue(mesh, line.value.dataplane, line.value, () => signal)))}\n`;
          } catch (error) {
            return `${JSON.stringify({ dataplane: line.dataplane ?? '', error: call.problem(error) })}\n`;
          }
        };
        return { status: 200, contentType: 'application/x-ndjson', body: issueMany(call.body, work, { signal }) };
      },
    }),
  ];
}

/** The JSON of API.md, section Issue a certificate. */
function answerJson(answer: CertificateAnswer): object {
  return {
    mesh: answer.mesh,
    dataplane: answer.dataplane,
    backend: answer.backend,
    type: answer.type,
    certificate: encodePem('CERTIFICATE', answer.leaf),
    caChain: answer.chain.map((der) => encodePem('CERTIFICATE', der)),
    ...(answer.privateKeyDer === undefined ? {} : { privateKey: encodePem('PRIVATE KEY', answer.privateKeyDer) }),
    serialNumber: answer.serialNumber,
    uriSans: answer.uriSans,
    commonName: answer.commonName,
    notBefore: answer.notBefore.toISOString(),
    notAfter: answer.notAfter.toISOString(),
    renewAt: answer.renewAt.toISOString(),
    outcome: answer.outcome,
    ...(answer.stale === undefined ? {} : staleJson(answer.stale)),
    trustBundle: { version: String(answer.bundle.version), pem: answer.bundle.pem },
  };
}

/** Waiting is told too long rather than too short, the time that is left too short rather than too long. */
function staleJson({ retryAfterMs, validForMs, breaker, cause }: StaleReason): object {
  return {
    retryAfterSeconds: Math.ceil(retryAfterMs / 1000),
    validForSeconds: Math.max(0, Math.floor(validForMs / 1000)),
    breaker,
    cause: causeJson(cause),
  };
}
