import { constants } from 'node:crypto';
import type { Stats } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import {
  createServer as createTlsServer,
  type DetailedPeerCertificate,
  TLSSocket,
  type Server as TlsServer,
} from 'node:tls';
import { ConfigError } from '../issuer/errors.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import { sdsMistake } from '../runtime/sds-rules.ts';
import type { Settings } from '../runtime/settings.ts';

export type ListenerSettings = Pick<Settings, 'sdsHost' | 'sdsPort' | 'sdsAuth' | 'apiTlsCertFile' | 'apiTlsKeyFile'>;

export interface ListenerOptions {
  readonly settings: ListenerSettings;
  readonly clock: Clock;
  readonly log: Log;
  /** A connection over which HTTP/2 may be spoken. */
  readonly onConnection: (socket: Socket) => void;
}

/** The port of the Secret Discovery Service: TCP, or TLS with files that are read again when they change. */
export interface Listener {
  /** @throws ConfigError when the address cannot be taken, or the TLS files cannot be used */
  listen(): Promise<{ readonly host: string; readonly port: number }>;
  /** Takes no more connections. */
  stop(): void;
  /** Cuts every connection off, and waits until they are gone. */
  close(): Promise<void>;
  /** The certificate of the client at the other end of a connection, then what it sent along; DER. */
  certificates(connection: ConnectionName): readonly Buffer[];
}

/** What tells open connections apart. */
export interface ConnectionName {
  readonly localAddress?: string | undefined;
  readonly localPort?: number | undefined;
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
}

const MAX_CONNECTIONS = 20_000;
const HANDSHAKE_MS = 10_000;
const MAX_CHAIN = 10;
/** How often the TLS files are looked at. */
const LOOK_AT_FILES_MS = 10_000;
const MAX_FILE_BYTES = 1024 * 1024;

/** A resumed session would not show the chain of the client, so there are no tickets. */
const TLS = { minVersion: 'TLSv1.2', secureOptions: constants.SSL_OP_NO_TICKET } as const;

interface TlsFiles {
  readonly cert: string;
  readonly key: string;
}

/**
 * Clients are asked for a certificate with `mtls`, and not refused by TLS: under which roots it has to stand depends on the mesh, which the first request
 * names, and changes while we run.
 * @throws ConfigError when the settings would put keys on the wire in clear, or prove nothing
 */
export function createListener({ settings, clock, log, onConnection }: ListenerOptions): Listener {
  const files = checkSettings(settings);
  const sockets = new Set<Socket>();
  const named = new Map<string, TLSSocket>();
  const watching = new AbortController();
  let watch: Promise<void> | undefined;
  let server: Server | TlsServer | undefined;

  function take(socket: Socket): void {
    socket.setNoDelay(true);
    if (socket instanceof TLSSocket && settings.sdsAuth === 'mtls') {
      const name = nameOf(socket);
      named.set(name, socket);
      socket.once('close', () => named.delete(name));
    }
    onConnection(socket);
  }

  async function open(): Promise<Server | TlsServer> {
    const base = { noDelay: true };
    if (files === undefined) return createServer(base, take);
    const loaded = await loadFiles(files);
    const asking = { requestCert: settings.sdsAuth === 'mtls', rejectUnauthorized: false };
    const tls = orConfigError(() =>
      createTlsServer(
        {
          ...{ ...base, ...loaded.context, ...asking, ...TLS },
          handshakeTimeout: HANDSHAKE_MS,
          ALPNProtocols: ['h2'],
        },
        take,
      ),
    );
    tls.on('tlsClientError', (error) => log.debug({ err: error }, 'SDS: TLS handshake failed'));
    watch = watchFiles(tls, files, loaded.stamp);
    return tls;
  }

  async function watchFiles(tls: TlsServer, paths: TlsFiles, first: string): Promise<void> {
    let stamp = first;
    while (!watching.signal.aborted) {
      try {
        await clock.sleep(LOOK_AT_FILES_MS, watching.signal);
      } catch {
        return;
      }
      try {
        if ((await stampOf(paths)) === stamp) continue;
        const loaded = await loadFiles(paths);
        tls.setSecureContext({ ...loaded.context, ...TLS });
        stamp = loaded.stamp;
        log.info({}, 'SDS: TLS certificate read again');
      } catch (error) {
        log.warn({ err: error }, 'SDS: changed TLS files are not usable, those before stay');
      }
    }
  }

  return {
    async listen() {
      const { sdsHost: host, sdsPort: port = 0 } = settings;
      server = await open();
      server.maxConnections = MAX_CONNECTIONS;
      server.on('connection', (socket: Socket) => {
        sockets.add(socket);
        socket.on('error', () => {});
        socket.once('close', () => sockets.delete(socket));
      });
      await listenOn(server, host, port);
      const address = server.address() as AddressInfo;
      return { host: address.address, port: address.port };
    },
    stop() {
      watching.abort();
      if (server?.listening === true) server.close();
    },
    async close() {
      this.stop();
      for (const socket of sockets) socket.destroy();
      await watch;
      while (sockets.size > 0) await new Promise((resolve) => [...sockets][0]?.once('close', resolve));
    },
    certificates(connection) {
      const socket = named.get(nameOf(connection));
      return socket === undefined ? [] : peerChain(socket.getPeerCertificate(true));
    },
  };
}

function nameOf({ localAddress, localPort, remoteAddress, remotePort }: ConnectionName): string {
  return [localAddress, localPort, remoteAddress, remotePort].join('|');
}

/** Node links what was sent by issuer; the last one, if it is a root, is its own issuer. */
function peerChain(leaf: DetailedPeerCertificate): readonly Buffer[] {
  const chain: Buffer[] = [];
  for (let next: DetailedPeerCertificate | undefined = leaf; next?.raw !== undefined && chain.length < MAX_CHAIN; ) {
    const { raw, issuerCertificate }: DetailedPeerCertificate = next;
    chain.push(raw);
    next = issuerCertificate === next ? undefined : issuerCertificate;
  }
  return chain;
}

function checkSettings(settings: ListenerSettings): TlsFiles | undefined {
  const mistake = sdsMistake(settings);
  if (mistake !== undefined) throw new ConfigError(`${mistake.key}: ${mistake.message}`, { fix: mistake.fix });
  const { apiTlsCertFile: cert, apiTlsKeyFile: key } = settings;
  return cert === undefined || key === undefined ? undefined : { cert, key };
}

/** OpenSSL's own words about a key say nothing of the key. */
function orConfigError<T>(create: () => T): T {
  try {
    return create();
  } catch (error) {
    throw new ConfigError(
      `apiTlsCertFile and apiTlsKeyFile cannot be used: ${error instanceof Error ? error.message : 'error'}`,
      { fix: 'name a PEM certificate with its chain, and the PEM private key that belongs to it', cause: error },
    );
  }
}

async function loadFiles(paths: TlsFiles): Promise<{ context: { cert: Buffer; key: Buffer }; stamp: string }> {
  const stamp = await stampOf(paths);
  const [cert, key] = await Promise.all([
    readLimited(paths.cert, 'apiTlsCertFile'),
    readLimited(paths.key, 'apiTlsKeyFile'),
  ]);
  return { context: { cert, key }, stamp };
}

async function readLimited(path: string, setting: string): Promise<Buffer> {
  const refuse = (why: string, cause?: unknown) =>
    new ConfigError(`${setting}: ${why}`, { fix: 'name a PEM file that mesh-ca can read', cause });
  try {
    if ((await stat(path)).size > MAX_FILE_BYTES) throw refuse(`is larger than ${MAX_FILE_BYTES} bytes`);
    return await readFile(path);
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    throw refuse(`cannot be read (${(error as NodeJS.ErrnoException).code ?? 'error'})`, error);
  }
}

async function stampOf({ cert, key }: TlsFiles): Promise<string> {
  const stats = await Promise.all([cert, key].map((path) => stat(path).catch((): undefined => undefined)));
  return stats
    .map((one: Stats | undefined) => (one === undefined ? '' : `${one.ino}:${one.size}:${one.mtimeMs}`))
    .join();
}

function listenOn(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException) =>
      reject(
        new ConfigError(`cannot listen on ${host}:${port} for SDS: ${error.code ?? error.message}`, {
          cause: error,
          fix:
            error.code === 'EADDRINUSE'
              ? 'stop what listens there, or choose another port: --sds-port PORT, or --sds-port off'
              : 'check --sds-host and --sds-port',
        }),
      );
    server.once('error', onError);
    server.listen({ host, port }, () => {
      server.off('error', onError);
      resolve();
    });
  });
}
