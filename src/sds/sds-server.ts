import { setMaxListeners } from 'node:events';
import {
  type ConnectionInjector,
  Server,
  ServerCredentials,
  ServerInterceptingCall,
  type ServerInterceptor,
} from '@grpc/grpc-js';
import type { Backends } from '../backends/backends.ts';
import { IssuerUnavailableError, TooLargeError } from '../issuer/errors.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Settings } from '../runtime/settings.ts';
import type { Store } from '../store/store.ts';
import type { DataplaneTokens } from '../tokens/dataplane-tokens.ts';
import type { TrustBundles } from '../trust/trust-bundles.ts';
import { AUTHENTICATE, type Credentials } from './authenticate.ts';
import { Connections } from './connections.ts';
import { createListener, type ListenerSettings } from './listener.ts';
import { SECRET_SERVICE } from './protocol.ts';
import { readProxyName } from './proxy-name.ts';
import { createRefusalLog } from './refusal-log.ts';
import { type Call, endCall } from './sds-stream.ts';
import { type SdsMetrics, serveStream } from './serve-stream.ts';
import { Sessions, type SessionsOptions } from './sessions.ts';
import type { Mode } from './subscriptions.ts';

export type { SdsMetrics } from './serve-stream.ts';

export interface SdsServerOptions extends Omit<SessionsOptions, 'bundles' | 'store' | 'settings'> {
  readonly bundles: Pick<TrustBundles, 'get' | 'onChange' | 'intermediates'>;
  readonly backends: Pick<Backends, 'get' | 'peek'>;
  readonly store: Store;
  readonly tokens: Pick<DataplaneTokens, 'verify'>;
  readonly metrics?: SdsMetrics;
  /** Time as sockets see it, and gRPC's own pings. Default: `clock`. */
  readonly transportClock?: Clock;
  readonly settings: ListenerSettings & Pick<Settings, 'sdsIdentityName' | 'sdsTrustName' | 'certificateProfile'>;
}

/** Envoy's Secret Discovery Service v3 over gRPC. */
export interface SdsServer {
  /** @throws ConfigError when the address cannot be taken, or the TLS files cannot be used */
  listen(): Promise<{ readonly host: string; readonly port: number }>;
  /** What is connected now. */
  readings(): { readonly streams: number; readonly dataplanes: number };
  /**
   * Ends all streams with UNAVAILABLE, so that proxies look for another instance or come back; waits at most `timeoutMs` until that is sent, then cuts
   * them off. Idempotent.
   */
  close(timeoutMs: number): Promise<void>;
}

const MAX_STREAMS = 50_000;
const MAX_STREAMS_OF_A_CONNECTION = 256;
/** Of a request. Envoy's node with all its extensions has some 50 KB. */
const MAX_REQUEST_BYTES = 512 * 1024;
/** A proxy that is gone without a word is noticed after both. */
const KEEPALIVE_MS = 30_000;
const KEEPALIVE_TIMEOUT_MS = 20_000;
/** Of the connection of a call; set here, whatever a client sends. */
const CONNECTION_KEY = 'x-mesh-ca-connection';

const NO_METRICS: SdsMetrics = { sent() {}, answered() {} };

/** @throws ConfigError when the settings would put keys on the wire in clear, or prove nothing */
export function createSdsServer(options: SdsServerOptions): SdsServer {
  const { settings, clock, log, metrics = NO_METRICS } = options;
  const closing = new AbortController();
  setMaxListeners(0, closing.signal);
  const authenticate = AUTHENTICATE[settings.sdsAuth]({ ...options, profile: settings.certificateProfile });
  const calls = new Set<Call>();
  let onEmpty = () => {};
  let injector: ConnectionInjector | undefined;
  let closed: Promise<void> | undefined;

  const connections = new Connections(options.transportClock ?? clock);
  const listener = createListener({
    settings,
    clock,
    log,
    onConnection(socket) {
      connections.add(socket);
      injector?.injectConnection(socket);
    },
  });
  const sessions = new Sessions(options);
  const onRefused = createRefusalLog({ log, clock });

  const credentials = (call: Call): Credentials => {
    const [authorization] = call.metadata.get('authorization');
    // With other ways to authenticate nobody sets it here.
    const [connection] = settings.sdsAuth === 'mtls' ? call.metadata.get(CONNECTION_KEY) : [];
    return {
      authorization: typeof authorization === 'string' ? authorization : undefined,
      certificates: typeof connection === 'string' ? listener.certificates(JSON.parse(connection)) : [],
    };
  };

  function serve(mode: Mode, call: Call): void {
    const full = calls.size >= MAX_STREAMS;
    if (closing.signal.aborted || full) {
      endCall(call, full ? new TooLargeError(`${MAX_STREAMS} streams are open already`) : closing.signal.reason);
      return;
    }
    calls.add(call);
    const peer = call.getPeer();
    let unused = () => {};
    let ended = () => {};
    call.once('cancelled', () => {
      ended();
      calls.delete(call);
      if (calls.size === 0) onEmpty();
    });
    serveStream(call, mode, {
      sessions,
      authenticate,
      credentials,
      readName: (nodeId) => readProxyName(nodeId, options),
      names: { trust: settings.sdsTrustName, identity: settings.sdsIdentityName },
      ...{ clock, log, metrics },
      closing: closing.signal,
      onProven() {
        unused = connections.use(peer);
      },
      onRefused,
      onOver() {
        unused();
        if (!call.cancelled) ended = connections.ending(peer);
      },
    });
  }

  async function closeAll(timeoutMs: number): Promise<void> {
    listener.stop();
    const error = new IssuerUnavailableError('mesh-ca is stopping', { retryAfterMs: 1000, fix: 'connect again' });
    closing.abort(error);
    sessions.close(error);
    for (const call of calls) endCall(call, error);
    if (calls.size > 0) {
      const done = new AbortController();
      const empty = new Promise<void>((resolve) => {
        onEmpty = resolve;
      });
      await Promise.race([empty, clock.sleep(timeoutMs, done.signal).catch(() => {})]);
      done.abort();
    }
    injector?.destroy();
    await listener.close();
    connections.close();
    server.forceShutdown();
  }

  const server = createGrpcServer(settings.sdsAuth === 'mtls' ? [nameConnection] : []);
  server.addService(
    { ...SECRET_SERVICE },
    {
      StreamSecrets: (call: Call) => serve('sotw', call),
      DeltaSecrets: (call: Call) => serve('delta', call),
    },
  );

  return {
    async listen() {
      injector = server.createConnectionInjector(ServerCredentials.createInsecure());
      return listener.listen();
    },
    readings: () => ({ streams: calls.size, dataplanes: sessions.size }),
    close(timeoutMs) {
      closed ??= closeAll(timeoutMs);
      return closed;
    },
  };
}

function createGrpcServer(interceptors: ServerInterceptor[]): Server {
  return new Server({
    interceptors,
    'grpc.max_receive_message_length': MAX_REQUEST_BYTES,
    'grpc.max_concurrent_streams': MAX_STREAMS_OF_A_CONNECTION,
    'grpc.keepalive_time_ms': KEEPALIVE_MS,
    'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
    'grpc.enable_channelz': 0,
  });
}

/** Tells the handler which connection a call came by: grpc-js shows client certificates only if TLS itself has judged them. */
const nameConnection: ServerInterceptor = (_method, call) =>
  new ServerInterceptingCall(call, {
    start(next) {
      next({
        onReceiveMetadata(metadata, receive) {
          metadata.set(CONNECTION_KEY, JSON.stringify(call.getConnectionInfo()));
          receive(metadata);
        },
      });
    },
  });
