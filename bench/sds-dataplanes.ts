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

/** mesh-ca lets 256 streams share a connection. */
const STREAMS_OF_A_CONNECTION = 200;
const NAMES = ['identity_cert', 'mesh_ca'];

/**
 * Data planes `dp-0`... of a mesh, each with one stream for both of its secrets, that acknowledge at once whatever comes. Of what they get they keep
 * nothing but numbers. mesh-ca has to run with `--sds-auth none`.
 */
export function openSdsDataplanes(address: string, mesh: string, count: number): SdsDataplanes {
  const bundles = new Map<string, Map<number, number>>();
  const certificates = new Array<number>(count).fill(0);
  const ended: string[] = [];
  const clients: Client[] = [];
  const calls: ClientDuplexStream<unknown, DiscoveryResponse>[] = [];
  let held = 0;
  let isClosing = false;

  function open(client: Client, index: number): void {
    const method = SECRET_SERVICE.StreamSecrets;
    const call = client.makeBidiStreamRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize as (bytes: Buffer) => DiscoveryResponse,
    );
    let [trust, identity]: (string | undefined)[] = [];
    call.on('data', ({ versionInfo, nonce }: DiscoveryResponse) => {
      const wasComplete = trust !== undefined && identity !== undefined;
      const now = splitVersions(versionInfo);
      if (now.identity !== identity) certificates[index] = (certificates[index] ?? 0) + 1;
      if (now.trust !== undefined && now.trust !== trust) {
        const seen = bundles.get(now.trust) ?? new Map<number, number>();
        bundles.set(now.trust, seen.set(index, performance.now()));
      }
      ({ trust, identity } = now);
      if (!wasComplete && trust !== undefined && identity !== undefined) held += 1;
      call.write({ typeUrl: SECRET_TYPE_URL, versionInfo, responseNonce: nonce, resourceNames: NAMES });
    });
    call.on('error', () => {});
    call.on('status', ({ code, details }: StatusObject) => {
      if (!isClosing) ended.push(`${code} ${details}`);
    });
    call.write({ typeUrl: SECRET_TYPE_URL, resourceNames: NAMES, node: nodeOf(`${mesh}.dp-${index}`) });
    calls.push(call);
  }

  for (let index = 0; index < count; index += 1) {
    if (index % STREAMS_OF_A_CONNECTION === 0) {
      const own = { 'grpc.use_local_subchannel_pool': 1 };
      clients.push(new Client(address, ChannelCredentials.createInsecure(), own));
    }
    const client = clients.at(-1);
    if (client !== undefined) open(client, index);
  }
  return {
    ...{ bundles, certificates, ended },
    complete: () => held,
    close() {
      isClosing = true;
      for (const call of calls) call.cancel();
      for (const client of clients) client.close();
    },
  };
}

function nodeOf(id: string): object {
  const tags = { 'kuma.io/service': { stringValue: 'backend' }, version: { stringValue: 'v1' } };
  return { id, cluster: 'bench', metadata: { fields: { tags: { structValue: { fields: tags } } } } };
}
