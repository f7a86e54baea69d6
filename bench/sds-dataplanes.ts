import { ChannelCredentials, Client, type ClientDuplexStream, type StatusObject } from '@grpc/grpc-js';
import { type DiscoveryResponse, SECRET_SERVICE, SECRET_TYPE_URL } from '../src/sds/protocol.ts';
import { splitVersions } from '../src/sds/versions.ts';

/** What simulated data planes have seen. */
export interface SdsDataplanes {
  /** When each was sent each bundle first: version -> number of the data plane -> `performance.now()`. */
  readonly bundles: ReadonlyMap<string, ReadonlyMap<number, number>>;
  /** Certificates that each was sent, by number of the data plane. */
  readonly certificates: readonly number[];
  /** Streams that ended by themselves, with their status. */
  readonly ended: readonly string[];
  /** How many hold a certificate and a bundle. */
  complete(): number;
  close(): void;
}

/** `shared`: one stream for both secrets, 200 of them on a connection. `own`: a stream for each secret, each on a connection of its own, as Envoy does. */
export type StreamKind = 'shared' | 'own';

/** mesh-ca lets 256 streams share a connection. */
const STREAMS: Readonly<Record<StreamKind, { readonly ofAConnection: number; readonly names: readonly string[][] }>> = {
  shared: { ofAConnection: 200, names: [['identity_cert', 'mesh_ca']] },
  own: { ofAConnection: 1, names: [['identity_cert'], ['mesh_ca']] },
};

/** Answers wait until nothing has come for so long, */
const QUIET_MS = 5;
/** but not for longer than this. */
const LATE_MS = 500;
const ANSWERS_AT_ONCE = 500;

/**
 * Data planes `dp-0`... of a mesh that acknowledge whatever comes. Of what they get they keep nothing but numbers. mesh-ca has to run with
 * `--sds-auth none`.
 */
export function openSdsDataplanes(
  address: string,
  mesh: string,
  count: number,
  kind: StreamKind = 'shared',
): SdsDataplanes {
  const bundles = new Map<string, Map<number, number>>();
  const certificates = new Array<number>(count).fill(0);
  const ended: string[] = [];
  const clients: Client[] = [];
  const calls: ClientDuplexStream<unknown, DiscoveryResponse>[] = [];
  /** Secrets that each holds. */
  const held = new Map<number, Set<'trust' | 'identity'>>();
  /** All proxies share this process: what they answer must not hold up what the next one is sent. */
  const answers: (() => void)[] = [];
  let lastMessageAt = 0;
  let lastAnswerAt = 0;
  const answering = setInterval(() => {
    const now = performance.now();
    if (answers.length === 0) lastAnswerAt = now;
    if (now - lastMessageAt < QUIET_MS && now - lastAnswerAt < LATE_MS) return;
    lastAnswerAt = now;
    for (const answer of answers.splice(0, ANSWERS_AT_ONCE)) answer();
  }, QUIET_MS);
  let isClosing = false;

  function open(client: Client, index: number, resourceNames: readonly string[]): void {
    const method = SECRET_SERVICE.StreamSecrets;
    const call = client.makeBidiStreamRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize as (bytes: Buffer) => DiscoveryResponse,
    );
    let [trust, identity]: (string | undefined)[] = [];
    call.on('data', ({ versionInfo, nonce }: DiscoveryResponse) => {
      const now = splitVersions(versionInfo);
      const mine = held.get(index) ?? new Set();
      held.set(index, mine);
      if (now.trust !== undefined) mine.add('trust');
      if (now.identity !== undefined) mine.add('identity');
      if (now.identity !== identity) certificates[index] = (certificates[index] ?? 0) + 1;
      if (now.trust !== undefined && now.trust !== trust) {
        const seen = bundles.get(now.trust) ?? new Map<number, number>();
        bundles.set(now.trust, seen.set(index, performance.now()));
      }
      ({ trust, identity } = now);
      lastMessageAt = performance.now();
      answers.push(
        () => void call.write({ typeUrl: SECRET_TYPE_URL, versionInfo, responseNonce: nonce, resourceNames }),
      );
    });
    call.on('error', () => {});
    call.on('status', ({ code, details }: StatusObject) => {
      if (!isClosing) ended.push(`${code} ${details}`);
    });
    call.write({ typeUrl: SECRET_TYPE_URL, resourceNames, node: nodeOf(`${mesh}.dp-${index}`) });
    calls.push(call);
  }

  const { ofAConnection, names } = STREAMS[kind];
  for (let index = 0; index < count; index += 1) {
    for (const resourceNames of names) {
      if (calls.length % ofAConnection === 0) {
        const own = { 'grpc.use_local_subchannel_pool': 1 };
        clients.push(new Client(address, ChannelCredentials.createInsecure(), own));
      }
      const client = clients.at(-1);
      if (client !== undefined) open(client, index, resourceNames);
    }
  }
  return {
    ...{ bundles, certificates, ended },
    complete: () => [...held.values()].filter(({ size }) => size === 2).length,
    close() {
      isClosing = true;
      clearInterval(answering);
      for (const call of calls) call.cancel();
      for (const client of clients) client.close();
    },
  };
}

function nodeOf(id: string): object {
  const tags = { 'kuma.io/service': { stringValue: 'backend' }, version: { stringValue: 'v1' } };
  return { id, cluster: 'bench', metadata: { fields: { tags: { structValue: { fields: tags } } } } };
}
