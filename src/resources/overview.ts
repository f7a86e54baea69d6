import type { JsonObject } from '../mesh/violations.ts';
import type { Clock } from '../runtime/clock.ts';
import type {
  ResourcePage,
  Store,
  StoredCertificate,
  StoredResource,
  StoredTrustBundle,
  TrustStatement,
} from '../store/store.ts';
import { readBundle, supportedBackends } from '../trust/trust-bundle.ts';
import { labelsOf, resourceMeta, type ZoneLabels } from './resource-json.ts';

export interface OverviewOptions extends ZoneLabels {
  readonly store: Store;
  readonly clock: Clock;
  /** A data plane counts as online for this long after its last request. */
  readonly onlineForMs: number;
  /** Last request of a data plane to this instance. */
  lastSeen(mesh: string, dataplane: string): Date | undefined;
}

/** Mesh and bundle version -> backends: most data planes hold the same version. */
type Supported = Map<string, Promise<readonly string[]>>;

/** Data planes with what we know of their certificates: Kuma's DataplaneOverview. */
export class Overviews {
  readonly #options: OverviewOptions;

  constructor(options: OverviewOptions) {
    this.#options = options;
  }

  async one(stored: StoredResource): Promise<JsonObject> {
    return this.#read(stored, new Map());
  }

  /** In the order of the resources. Reads what it needs of each, however many there are in the mesh. */
  async many(resources: readonly StoredResource[]): Promise<readonly JsonObject[]> {
    const supported: Supported = new Map();
    return Promise.all(resources.map((stored) => this.#read(stored, supported)));
  }

  /**
   * A data plane that has a certificate but no Dataplane resource: a control plane may send tags instead of storing data planes here. With an
   * empty `networking`.
   */
  async unregistered(mesh: string, name: string): Promise<StoredResource | undefined> {
    const certificate = await this.#options.store.getCertificate(mesh, name);
    return certificate === undefined ? undefined : standIn(certificate);
  }

  /**
   * All of them, sorted by name.
   * @param page a page of the data planes that are registered; when it holds them all, they are not read again
   */
  async listUnregistered(mesh: string, page: ResourcePage, nameContains = ''): Promise<readonly StoredResource[]> {
    const { store } = this.#options;
    const certificates = (await store.listCertificates(mesh)).filter(({ dataplane }) =>
      dataplane.includes(nameContains),
    );
    if (certificates.length === 0) return [];
    const { items } =
      page.items.length === page.total ? page : await store.listResources({ type: 'Dataplane', mesh, nameContains });
    const registered = new Set(items.map(({ name }) => name));
    return certificates.filter(({ dataplane }) => !registered.has(dataplane)).map(standIn);
  }

  async #read(stored: StoredResource, supported: Supported): Promise<JsonObject> {
    const { store } = this.#options;
    const [certificate, statement] = await Promise.all([
      store.getCertificate(stored.mesh, stored.name),
      store.getTrustStatement(stored.mesh, stored.name),
    ]);
    const key = `${stored.mesh}/${statement?.bundleVersion}`;
    const backends = supported.get(key) ?? this.#supported(statement);
    supported.set(key, backends);
    return this.#compose(stored, certificate, await backends, statement);
  }

  /** The backends whose roots stand in the bundle version that the data plane said it holds. Being sent a bundle is no proof. */
  async #supported(statement: TrustStatement | undefined): Promise<readonly string[]> {
    if (statement === undefined) return [];
    const { store } = this.#options;
    const [current, held] = await Promise.all([
      store.getTrustBundle(statement.mesh),
      store.getTrustBundleVersion(statement.mesh, statement.bundleVersion),
    ]);
    if (current === undefined || held === undefined) return [];
    const read = ({ mesh, version, body }: StoredTrustBundle) => readBundle(mesh, version, body);
    return supportedBackends(read(current), read(held));
  }

  #compose(
    stored: StoredResource,
    certificate: StoredCertificate | undefined,
    supportedBackends: readonly string[],
    statement: TrustStatement | undefined,
  ): JsonObject {
    const { labels: _, ...dataplane } = JSON.parse(stored.body) as JsonObject;
    const seen = latest([this.#options.lastSeen(stored.mesh, stored.name), certificate?.issuedAt, statement?.statedAt]);
    const insight = {
      ...(seen === undefined ? {} : { subscriptions: [this.#subscription(stored, seen)] }),
      ...(certificate === undefined ? {} : { mTLS: mtlsInsight(certificate, supportedBackends) }),
    };
    return {
      ...resourceMeta(stored, this.#options, 'DataplaneOverview'),
      labels: labelsOf(stored, this.#options),
      dataplane,
      dataplaneInsight: insight,
    };
  }

  /** Kuma tells a proxy's state by its last subscription: without `disconnectTime` it is online. */
  #subscription(stored: StoredResource, seen: Date): JsonObject {
    const { clock, onlineForMs, zoneName } = this.#options;
    const offlineAt = new Date(seen.getTime() + onlineForMs);
    return {
      id: `${stored.mesh}.${stored.name}`,
      controlPlaneInstanceId: zoneName,
      connectTime: seen.toISOString(),
      ...(offlineAt <= clock.now() ? { disconnectTime: offlineAt.toISOString() } : {}),
      status: { lastUpdateTime: seen.toISOString(), total: {} },
    };
  }
}

/** In place of the resource that there is not. */
function standIn({ mesh, dataplane, issuedAt }: StoredCertificate): StoredResource {
  return {
    type: 'Dataplane',
    mesh,
    name: dataplane,
    body: '{"networking":{}}',
    version: 0,
    createdAt: issuedAt,
    modifiedAt: issuedAt,
    owned: false,
  };
}

/** Kuma's `dataplaneInsight.mTLS`; empty lists are left out, as protobuf JSON does. */
function mtlsInsight(certificate: StoredCertificate, supportedBackends: readonly string[]): JsonObject {
  return {
    certificateExpirationTime: certificate.notAfter.toISOString(),
    lastCertificateRegeneration: certificate.issuedAt.toISOString(),
    certificateRegenerations: certificate.regenerations,
    issuedBackend: certificate.backend,
    ...(supportedBackends.length === 0 ? {} : { supportedBackends }),
  };
}

function latest(instants: readonly (Date | undefined)[]): Date | undefined {
  return instants.reduce((a, b) => (a === undefined || (b !== undefined && b > a) ? b : a), undefined);
}
