import { duplexPair } from 'node:stream';
import { createServer, type SecureContextOptions, type TLSSocket, connect as tlsConnect } from 'node:tls';
import type { CallOptions } from '../issuer/issuer.ts';
import type { Clock } from '../runtime/clock.ts';
import { orAborted } from '../runtime/or-aborted.ts';
import { type Certificate, parseCertificate } from '../x509/certificate.ts';
import { encodePem } from '../x509/pem.ts';
import { X509Error } from '../x509/x509-error.ts';

/** What both proxies hold, and whom each expects. */
export interface HandshakeParts {
  readonly leaf: Certificate;
  /** The leaf's issuer first. */
  readonly chain: readonly Certificate[];
  readonly roots: readonly Certificate[];
  /** PKCS#8, DER. */
  readonly privateKeyDer: Buffer;
  /** Exactly these, as SPIFFE IDs of the peer. */
  readonly spiffeIds: readonly string[];
}

export interface HandshakeOptions extends CallOptions {
  readonly clock: Clock;
  readonly timeoutMs: number;
}

/** What kept two proxies from talking to each other. */
export interface HandshakeFault {
  /** In plain words. */
  readonly cause: string;
  /** Only time was short. */
  readonly retry?: boolean;
}

const NO_PATH = 'no path leads from it to a trusted root: an intermediate is missing, or the root is another one';

/** OpenSSL's verdicts (openssl-verification-options(1)) in plain words. */
const VERDICTS: ReadonlyMap<string, string> = new Map([
  ['UNABLE_TO_GET_ISSUER_CERT', 'the certificate of an issuer above it is missing'],
  ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', NO_PATH],
  ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', NO_PATH],
  ['SELF_SIGNED_CERT_IN_CHAIN', 'it leads to a root that is not trusted'],
  ['DEPTH_ZERO_SELF_SIGNED_CERT', 'it is signed by itself, not by a trusted root'],
  ['CERT_SIGNATURE_FAILURE', 'a signature in its chain is wrong'],
  ['INVALID_CA', 'a certificate in its chain is no CA that may issue it'],
  ['INVALID_PURPOSE', 'its key usages, or usages and constraints of a CA above it, do not allow this use'],
  ['PATH_LENGTH_EXCEEDED', 'a CA above it allows fewer intermediates'],
  ['CERT_REJECTED', 'the root does not allow this use'],
  ['CERT_UNTRUSTED', 'the root does not allow this use'],
]);

/** Time is judged by the clock that was handed in, before OpenSSL judges it by the machine's. */
const JUDGED_BEFORE: ReadonlySet<string> = new Set(['CERT_HAS_EXPIRED', 'CERT_NOT_YET_VALID']);

/**
 * A TLS 1.3 handshake between two proxies that hold the same certificate, in memory: each presents it, each verifies the other's up to the roots and its
 * SPIFFE ID; then a few bytes go both ways. Nothing is left of it.
 * @returns what kept them from it; undefined when all went well. Rejects with the signal's reason only
 */
export async function tryHandshake(
  parts: HandshakeParts,
  options: HandshakeOptions,
): Promise<HandshakeFault | undefined> {
  const { signal, clock, timeoutMs } = options;
  signal.throwIfAborted();
  const untimely = timeFault(parts, clock.now());
  if (untimely !== undefined) return { cause: untimely };
  let proxies: Proxies;
  try {
    proxies = connectProxies(contextOf(parts));
  } catch (error) {
    return { cause: `no TLS library takes certificate and key: ${opensslReason(error)}` };
  }
  const deadline = clock.deadline(Math.max(0, timeoutMs), signal);
  try {
    const [client, server] = await orAborted(proxies.secured, deadline.signal);
    const fault =
      peerFault(server, 'client', parts.spiffeIds) ??
      peerFault(client, 'server', parts.spiffeIds) ??
      (client.getProtocol() === 'TLSv1.3' ? undefined : 'the two did not agree on TLS 1.3');
    if (fault !== undefined) return { cause: fault };
    await orAborted(Promise.all([pass(client, server, 'ping'), pass(server, client, 'pong')]), deadline.signal);
    return undefined;
  } catch (error) {
    signal.throwIfAborted();
    if (deadline.signal.aborted) return { cause: `it was not done within ${Math.round(timeoutMs)} ms`, retry: true };
    return { cause: `the TLS connection broke: ${opensslReason(error)}` };
  } finally {
    deadline.clear();
    proxies.destroy();
  }
}

function timeFault({ leaf, chain, roots }: HandshakeParts, at: Date): string | undefined {
  const valid = roots.filter(({ notBefore, notAfter }) => notBefore <= at && at <= notAfter);
  const [soonest] = valid.length > 0 ? [] : roots;
  for (const { notBefore, notAfter, subject } of [leaf, ...chain, ...(soonest ? [soonest] : [])]) {
    const what = subject === '' ? 'the certificate' : `the certificate "${subject}"`;
    if (at < notBefore) return `${what} is not valid before ${notBefore.toISOString()}`;
    if (at > notAfter) return `${what} ended at ${notAfter.toISOString()}`;
  }
  return undefined;
}

function contextOf({ leaf, chain, roots, privateKeyDer }: HandshakeParts): SecureContextOptions {
  const pem = ({ der }: Certificate) => encodePem('CERTIFICATE', der);
  return {
    key: encodePem('PRIVATE KEY', privateKeyDer),
    cert: [leaf, ...chain].map(pem).join(''),
    ca: roots.map(pem),
    minVersion: 'TLSv1.3',
    maxVersion: 'TLSv1.3',
  };
}

interface Proxies {
  /** Both ends, client first, once each has finished its handshake. */
  readonly secured: Promise<readonly [TLSSocket, TLSSocket]>;
  destroy(): void;
}

/** @throws what OpenSSL says of certificate and key */
function connectProxies(context: SecureContextOptions): Proxies {
  const [near, far] = duplexPair();
  // Neither refuses by itself: each one's verdict is read afterwards, so that both can be told.
  const server = createServer({ ...context, requestCert: true, rejectUnauthorized: false });
  const client = tlsConnect({
    ...context,
    socket: near,
    rejectUnauthorized: false,
    // Proxies tell each other apart by SPIFFE ID, not by host name.
    checkServerIdentity: () => undefined,
  });
  const sockets: TLSSocket[] = [client];
  const secured = Promise.all([
    new Promise<TLSSocket>((resolve, reject) => {
      client.once('secureConnect', () => resolve(client));
      client.on('error', reject);
    }),
    new Promise<TLSSocket>((resolve, reject) => {
      server.once('secureConnection', (socket) => {
        sockets.push(socket);
        socket.on('error', reject);
        resolve(socket);
      });
      server.on('tlsClientError', reject);
    }),
  ]);
  // A server that does not listen takes what it is handed.
  server.emit('connection', far);
  return {
    secured,
    destroy() {
      for (const stream of [...sockets, near, far]) stream.destroy();
    },
  };
}

/** @param peer what the other one is in this connection */
function peerFault(socket: TLSSocket, peer: 'client' | 'server', spiffeIds: readonly string[]): string | undefined {
  const verdict = socket.authorized ? '' : String(socket.authorizationError);
  if (verdict !== '' && !JUDGED_BEFORE.has(verdict)) {
    return `the ${peer}'s certificate is refused: ${VERDICTS.get(verdict) ?? verdict}`;
  }
  const der = socket.getPeerX509Certificate()?.raw;
  if (der === undefined) return `the ${peer} presented no certificate`;
  const found = parseCertificate(der).uriSans.filter((uri) => uri.startsWith('spiffe://'));
  const isExact = found.length === spiffeIds.length && spiffeIds.every((id) => found.includes(id));
  return isExact ? undefined : `the ${peer} is ${found.join(', ') || 'nobody'}, not ${spiffeIds.join(', ')}`;
}

/** Resolves when the text has arrived at the other end. */
function pass(from: TLSSocket, to: TLSSocket, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    let arrived = '';
    to.on('data', (chunk: Buffer) => {
      arrived += chunk.toString('latin1');
      if (arrived === text) resolve();
      else if (!text.startsWith(arrived)) reject(new Error('other bytes arrived than were sent'));
    });
    to.once('end', () => reject(new Error('the connection ended')));
    from.once('error', reject);
    to.once('error', reject);
    from.write(text);
  });
}

/** OpenSSL's own short reason; of anything else only that it was unexpected. */
function opensslReason(error: unknown): string {
  if (error instanceof X509Error) return error.message;
  const reason = error instanceof Error && 'reason' in error ? error.reason : undefined;
  if (typeof reason === 'string') return reason;
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : 'an unexpected error';
}
