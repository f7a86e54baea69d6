import { RequestInvalidError, TooLargeError, UnauthenticatedError } from '../issuer/errors.ts';
import type { CallOptions } from '../issuer/issuer.ts';
import type { Clock, Deadline } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import type { Authenticate, Credentials } from './authenticate.ts';
import type { ProxyName } from './proxy-name.ts';
import { readDeltaRequest, readDiscoveryRequest, type XdsRequest } from './read-request.ts';
import { type Call, endCall, SdsStream } from './sds-stream.ts';
import type { Session } from './session.ts';
import type { Sessions } from './sessions.ts';
import { type Mode, Subscriptions } from './subscriptions.ts';
import type { Kind } from './versions.ts';

/** Envoy opens one for each secret; of one data plane two processes may run at a time. */
const MAX_STREAMS_OF_ONE = 64;
/** How long a stream may take to say who it is. */
const OPEN_MS = 15_000;
/** Names that nobody serves which are told of in one line. */
const MAX_TOLD = 5;

const READ: Readonly<Record<Mode, (message: unknown) => XdsRequest>> = {
  sotw: readDiscoveryRequest,
  delta: readDeltaRequest,
};

/** Counts, for metrics. */
export interface SdsMetrics {
  sent(kind: Kind): void;
  answered(kind: Kind, answer: 'ack' | 'nack'): void;
}

export interface ServeStreamOptions {
  readonly sessions: Sessions;
  readonly authenticate: Authenticate;
  readonly readName: (nodeId: string) => Promise<ProxyName>;
  readonly credentials: (call: Call) => Credentials;
  readonly names: Readonly<Record<Kind, string>>;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: SdsMetrics;
  readonly closing: AbortSignal;
  /** It has proven who it is. */
  onProven(): void;
  /** It has not, or may not have a stream. @param who what it says */
  onRefused(who: ProxyName | undefined, error: unknown): void;
  /** Its client was told the end, or is gone. Called once. */
  onOver(): void;
}

/**
 * Serves one stream: its first request says who it is, and is answered only once that is proven; requests are taken one after the other.
 */
export function serveStream(call: Call, mode: Mode, options: ServeStreamOptions): void {
  const { clock, log, sessions } = options;
  let isGone = false;
  /** Given up with its end: thousands of streams that are open keep neither timer nor signal. */
  let opening: { readonly gone: AbortController; readonly deadline: Deadline } | undefined;
  let stream: SdsStream | undefined;
  let session: Session | undefined;
  let claimed: ProxyName | undefined;
  const warned = new Set<string>();

  const onGone = () => {
    if (isGone) return;
    isGone = true;
    opening?.gone.abort(new UnauthenticatedError('the stream is over'));
    endOpening();
    if (session !== undefined && stream !== undefined) sessions.leave(session, stream);
    options.onOver();
  };
  const fail = (error: unknown) => {
    if (isGone) return;
    if (session === undefined && !options.closing.aborted) options.onRefused(claimed, error);
    endCall(call, error);
    onGone();
  };
  const endOpening = () => {
    opening?.deadline.clear();
    opening = undefined;
  };
  const gone = new AbortController();
  const deadline = clock.deadline(OPEN_MS, gone.signal);
  opening = { gone, deadline };
  deadline.signal.addEventListener('abort', () => {
    endOpening();
    if (session === undefined) fail(new RequestInvalidError('the stream did not say in time who it is'));
  });

  async function open(request: XdsRequest, opening: CallOptions): Promise<void> {
    const { node } = request;
    if (node === undefined || node.id === '') {
      throw new RequestInvalidError('the first request of a stream names no node', {
        fix: 'start Envoy with --service-node MESH.DATAPLANE and --service-cluster SERVICE',
      });
    }
    const who = await options.readName(node.id);
    claimed = who;
    const proof = await options.authenticate(who, options.credentials(call), opening);
    if (isGone || options.closing.aborted) return;
    const subscriptions = new Subscriptions(mode, options.names);
    const { names } = options;
    const onSent = (kind: Kind) => options.metrics.sent(kind);
    const told = { call, mode, names, subscriptions, proof, node, onSent, onEnd: onGone };
    const opened = new SdsStream(told, clock.now().getTime());
    await sessions.admit(who, opened);
    if (isGone || options.closing.aborted) return;
    if (sessions.streamsOf(who).length >= MAX_STREAMS_OF_ONE) {
      throw new TooLargeError(`data plane "${who.dataplane}" has ${MAX_STREAMS_OF_ONE} streams already`);
    }
    stream = opened;
    session = sessions.join(who, opened);
    options.onProven();
  }

  function takeInTurn(own: Session, message: unknown): void {
    const isLater = own.answerInTurn(() => {
      if (isGone) return;
      try {
        take(READ[mode](message));
        call.resume();
      } catch (error) {
        fail(error);
      }
    });
    if (isLater) call.pause();
    else take(READ[mode](message));
  }

  function take(request: XdsRequest): void {
    if (stream === undefined || session === undefined) return;
    const taken = stream.subscriptions.take(request, clock.now().getTime());
    if (taken.accepted !== undefined) options.metrics.answered(taken.accepted, 'ack');
    if (taken.refused !== undefined) options.metrics.answered(taken.refused.kind, 'nack');
    warnOfUnknown(taken.unknown, session.who);
    session.taken(stream, taken);
  }

  /** Envoy waits for them without end. */
  function warnOfUnknown(unknown: readonly string[], who: ProxyName): void {
    const news = unknown.filter((name) => !warned.has(name)).slice(0, MAX_TOLD);
    if (news.length === 0 || warned.size > MAX_TOLD) return;
    for (const name of news) warned.add(name);
    const served = Object.values(options.names);
    log.warn({ ...who, names: news, served }, 'SDS: a proxy waits for a secret of a name that is not served');
  }

  call.on('data', (message: unknown) => {
    if (isGone) return;
    try {
      if (session !== undefined) return takeInTurn(session, message);
      if (opening === undefined) return;
      const request = READ[mode](message);
      call.pause();
      open(request, opening.deadline).then(() => {
        endOpening();
        take(request);
        call.resume();
      }, fail);
    } catch (error) {
      fail(error);
    }
  });
  call.on('end', () => {
    if (isGone) return;
    call.end();
    onGone();
  });
  call.on('cancelled', onGone);
}
