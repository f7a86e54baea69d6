import type { ErrorCode } from '../../src/issuer/errors.ts';
import type { ProxyMode } from '../support/tcp-proxy.ts';
import type { BackendType, ServerFaultName } from './fault-world.ts';
import { shortenAnswer } from './shorten-answer.ts';

/** What a caller may see while a fault lasts: a good certificate, or an error of this code. */
export type Seen = 'served' | ErrorCode;

export interface FaultRow {
  readonly name: string;
  /** What goes wrong between mesh-ca and the server. */
  readonly mode?: ProxyMode;
  /** What goes wrong in the server. Where both are given, a server that can show it does, since a proxy in front of TLS cannot. */
  readonly server?: ServerFaultName;
  /** It is there before mesh-ca starts. */
  readonly atStart?: true;
  /** How long callers keep asking while it lasts. */
  readonly lastsMs: number;
  /** Nobody asks while it lasts, and one caller alone when it is over: idle connections were dead, and nobody knew. */
  readonly idle?: true;
  /** Nothing else may be seen. */
  readonly sees: readonly Seen[] | Readonly<Record<BackendType, readonly Seen[]>>;
  /** In the message or the fix of every error: the words that an operator needs. */
  readonly says?: RegExp;
}

/** Longer than the time-out of the backend, so that some callers see how it ends. */
export const REQUEST_TIMEOUT_MS = 2_000;
const LONG_MS = 2_600;
const SHORT_MS = 800;
const OUTAGE_MS = 5_000;
const IDLE_MS = 1_500;
const LATENCY_MS = 60;
const SHORT_BODY_BYTES = 48;

const DOWN = ['ERR_ISSUER_UNAVAILABLE'] as const;
const NONSENSE = ['ERR_ISSUER_RESPONSE', 'ERR_ISSUER_UNAVAILABLE'] as const;
const PAGE_BODY = '<html>please log in first</html>';
const PAGE = [
  'HTTP/1.1 200 OK',
  'Content-Type: text/html',
  `Content-Length: ${PAGE_BODY.length}`,
  'Connection: close',
  '',
  PAGE_BODY,
].join('\r\n');

/** THE TABLE: how each fault begins, and what callers may see of it. All backends, no exceptions but those that stand here. */
export const FAULTS: readonly FaultRow[] = [
  { name: 'down at start', mode: { kind: 'refuse' }, atStart: true, lastsMs: SHORT_MS, sees: DOWN },
  { name: 'down', mode: { kind: 'refuse' }, lastsMs: SHORT_MS, sees: DOWN },
  // Long enough for every pause between tries to have grown to its longest.
  { name: 'down for long', mode: { kind: 'refuse' }, lastsMs: OUTAGE_MS, sees: DOWN },
  {
    name: 'down mid-request',
    server: 'answer lost',
    mode: { kind: 'cut', shorten: (answer) => answer.subarray(0, 0), ending: 'reset' },
    lastsMs: SHORT_MS,
    // A CertificateRequest whose answer was lost is there, and can be found again.
    sees: { vault: DOWN, acmpca: DOWN, certmanager: ['served', ...DOWN] },
  },
  { name: 'slow', mode: { kind: 'slow', latencyMs: LATENCY_MS }, lastsMs: SHORT_MS, sees: ['served'] },
  { name: 'half-open connection', mode: { kind: 'half-open' }, lastsMs: LONG_MS, sees: DOWN },
  { name: 'half-open while idle', mode: { kind: 'half-open' }, idle: true, lastsMs: IDLE_MS, sees: [] },
  { name: 'reset', mode: { kind: 'reset' }, lastsMs: SHORT_MS, sees: DOWN },
  { name: 'garbage', mode: { kind: 'garbage' }, lastsMs: SHORT_MS, sees: NONSENSE },
  {
    name: 'a page, no JSON',
    mode: { kind: 'answer', bytes: Buffer.from(PAGE) },
    server: 'answer is a page',
    lastsMs: SHORT_MS,
    sees: NONSENSE,
  },
  {
    name: 'truncated JSON',
    server: 'answer truncated',
    mode: { kind: 'cut', shorten: (answer) => shortenAnswer(answer, SHORT_BODY_BYTES), ending: 'end' },
    lastsMs: SHORT_MS,
    sees: { vault: NONSENSE, acmpca: NONSENSE, certmanager: ['served', ...NONSENSE] },
  },
  {
    name: 'answer that stops',
    mode: { kind: 'cut', shorten: (answer) => answer.subarray(0, SHORT_BODY_BYTES), ending: 'stall' },
    lastsMs: LONG_MS,
    sees: DOWN,
  },
  { name: 'wrong certificate for our key', server: 'wrong key', lastsMs: SHORT_MS, sees: ['ERR_ISSUER_RESPONSE'] },
  { name: 'foreign root', server: 'foreign root', lastsMs: SHORT_MS, sees: ['ERR_ISSUER_RESPONSE'] },
  {
    name: 'expired CA',
    server: 'expired CA',
    lastsMs: SHORT_MS,
    sees: ['ERR_ISSUER_DENIED', 'ERR_ISSUER_RESPONSE'],
    says: /expir|not valid after|no longer valid|ends before/i,
  },
  {
    name: 'server clock 10 min ahead',
    server: 'clock ahead',
    lastsMs: SHORT_MS,
    // ACM PCA is told when a certificate begins; the others make it begin at a time that mesh-ca has not reached.
    sees: {
      vault: ['ERR_ISSUER_RESPONSE'],
      acmpca: ['served', 'ERR_ISSUER_UNAVAILABLE', 'ERR_ISSUER_DENIED', 'ERR_ISSUER_RESPONSE'],
      certmanager: ['ERR_ISSUER_RESPONSE'],
    },
    says: /clock/i,
  },
  {
    name: 'server clock 10 min behind',
    server: 'clock behind',
    lastsMs: SHORT_MS,
    sees: {
      vault: ['served'],
      acmpca: ['served', 'ERR_ISSUER_UNAVAILABLE', 'ERR_ISSUER_DENIED', 'ERR_ISSUER_RESPONSE'],
      certmanager: ['served'],
    },
    says: /clock/i,
  },
  {
    name: 'throttled',
    server: 'throttled',
    lastsMs: SHORT_MS,
    sees: ['served', 'ERR_ISSUER_RATE_LIMITED'],
  },
  {
    name: 'credentials revoked',
    server: 'credentials revoked',
    lastsMs: SHORT_MS,
    sees: ['ERR_ISSUER_DENIED'],
  },
  { name: 'restarted, same CA', server: 'restarted, same CA', lastsMs: SHORT_MS, sees: DOWN },
  { name: 'restarted, new CA', server: 'restarted, new CA', lastsMs: SHORT_MS, sees: DOWN },
  { name: 'server unwell', server: 'unwell', lastsMs: SHORT_MS, sees: DOWN },
];

export function allowedIn(row: FaultRow, type: BackendType): readonly Seen[] {
  return 'vault' in row.sees ? row.sees[type] : row.sees;
}
