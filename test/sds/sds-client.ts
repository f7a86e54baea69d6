import {
  ChannelCredentials,
  Client,
  type ClientDuplexStream,
  type ClientOptions,
  Metadata,
  type ServiceError,
} from '@grpc/grpc-js';
import {
  type DeltaDiscoveryResponse,
  type DiscoveryResponse,
  readSecret,
  SECRET_SERVICE,
  SECRET_TYPE_URL,
  type Secret,
} from '../../src/sds/protocol.ts';

/** One response of either protocol, taken apart. */
export interface Received {
  readonly nonce: string;
  /** `version_info`, or that of the one resource. */
  readonly version: string;
  readonly secrets: readonly Secret[];
  readonly names: readonly string[];
}

export interface StreamOptions {
  readonly node?: object | null;
  readonly names?: readonly string[];
  readonly mode?: 'sotw' | 'delta';
  /** What it says it holds: `version_info`, or versions by name. */
  readonly holds?: string | Readonly<Record<string, string>>;
  readonly token?: string;
  /** Acknowledge everything, as Envoy does. Default true. */
  readonly ack?: boolean;
}

/** A stream as Envoy keeps one. */
export interface SdsStreamClient {
  readonly received: Received[];
  /** The status that ended it. */
  readonly ended: Promise<ServiceError>;
  next(): Promise<Received>;
  ack(response: Received): void;
  nack(response: Received, message: string): void;
  /** Sends a request as it is. */
  send(request: object): void;
  cancel(): void;
}

export interface SdsClient {
  open(options: StreamOptions): SdsStreamClient;
  close(): void;
}

/** `tags` as Envoy's bootstrap has them, for `node.metadata`. */
export function node(id: string, tags?: Readonly<Record<string, string | readonly string[]>>): object {
  if (tags === undefined) return { id, cluster: 'test' };
  const fields = Object.fromEntries(
    Object.entries(tags).map(([name, value]) => [
      name,
      typeof value === 'string'
        ? { stringValue: value }
        : { listValue: { values: value.map((stringValue) => ({ stringValue })) } },
    ]),
  );
  return { id, cluster: 'test', metadata: { fields: { tags: { structValue: { fields } } } } };
}

export function createSdsClient(
  address: string,
  credentials: ChannelCredentials = ChannelCredentials.createInsecure(),
  options: ClientOptions = {},
): SdsClient {
  const client = new Client(address, credentials, options);
  return { open: (stream) => openStream(client, stream), close: () => client.close() };
}

function openStream(client: Client, options: StreamOptions): SdsStreamClient {
  const { mode = 'sotw', names = [], ack = true, holds } = options;
  const metadata = new Metadata();
  if (options.token !== undefined) metadata.set('authorization', `Bearer ${options.token}`);
  const method = mode === 'sotw' ? SECRET_SERVICE.StreamSecrets : SECRET_SERVICE.DeltaSecrets;
  const call: ClientDuplexStream<unknown, DiscoveryResponse | DeltaDiscoveryResponse> = client.makeBidiStreamRequest(
    method.path,
    method.requestSerialize,
    method.responseDeserialize as (bytes: Buffer) => DiscoveryResponse | DeltaDiscoveryResponse,
    metadata,
    {},
  );
  const received: Received[] = [];
  const waiting: ((response: Received) => void)[] = [];
  let given = 0;
  let version = typeof holds === 'string' ? holds : '';
  const ended = new Promise<ServiceError>((resolve) => {
    call.on('error', (error) => resolve(error as ServiceError));
    call.on('status', (status) => resolve(Object.assign(new Error(status.details), status)));
  });
  const send = (request: object) => void call.write({ typeUrl: SECRET_TYPE_URL, ...request });
  const answer = (response: Received, more: object) =>
    mode === 'sotw'
      ? send({ versionInfo: version, resourceNames: names, responseNonce: response.nonce, ...more })
      : send({ responseNonce: response.nonce, ...more });
  const self: SdsStreamClient = {
    received,
    ended,
    next() {
      const known = received[given];
      given += 1;
      return known === undefined ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve(known);
    },
    ack(response) {
      version = response.version;
      answer(response, {});
    },
    nack: (response, message) => answer(response, { errorDetail: { code: 13, message } }),
    send,
    cancel: () => call.cancel(),
  };
  call.on('data', (message: DiscoveryResponse | DeltaDiscoveryResponse) => {
    const response = readResponse(message);
    received.push(response);
    waiting.shift()?.(response);
    if (ack) self.ack(response);
  });
  const from = options.node === null ? {} : { node: options.node ?? node('default.web-1') };
  send(
    mode === 'sotw'
      ? { ...from, versionInfo: version, resourceNames: names }
      : { ...from, resourceNamesSubscribe: names, initialResourceVersions: typeof holds === 'object' ? holds : {} },
  );
  return self;
}

function readResponse(message: DiscoveryResponse | DeltaDiscoveryResponse): Received {
  if ('versionInfo' in message) {
    const secrets = message.resources.map((any) => readSecret(any));
    return { nonce: message.nonce, version: message.versionInfo, secrets, names: secrets.map(({ name }) => name) };
  }
  const secrets = message.resources.map(({ resource }) => readSecret(resource));
  const [first] = message.resources;
  return {
    nonce: message.nonce,
    version: first?.version ?? '',
    secrets,
    names: message.resources.map(({ name }) => name),
  };
}
