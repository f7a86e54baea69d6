import type { JsonObject } from '../mesh/violations.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Store, StoredCertificate, StoredResource, StoredTrustBundle, TrustStatement } from '../store/store.ts';
import { readBundle, supportedBackends } from '../trust/trust-bundle.ts';
import { resourceMeta, type ZoneLabels } from './resource-json.ts';

export interface OverviewOptions extends ZoneLabels {
  readonly store: Store;
  readonly clock: Clock;
  /** A data plane counts as online for this long after its last request. */
  readonly onlineForMs: number;
  /** Last request of a data plane to this instance. */
  lastSeen(mesh: string, dataplane: string): Date | undefined;
}

/** Up to so many data planes are read one by one. */
const FEW = 8;

interface KnownOfMesh {
  readonly certificates: ReadonlyMap<string, StoredCertificate>;
  readonly statements: ReadonlyMap<string, TrustStatement>;
  /** Bundle version -> backends. */
  readonly supported: ReadonlyMap<number, readonly string[]>;
}

/** Data planes with what we know of their certificates: Kuma's DataplaneOverview. */
export class Overviews {
  readonly #options: OverviewOptions;

  constructor(options: OverviewOptions) {
    this.#options = options;
  }

  async one(stored: StoredResource): Promise<JsonObject> {
    const { store } = this.#options;
    const [certificate, statement] = await Promise.all([
      store.getCertificate(stored.mesh, stored.name),
      store.getTrustStatement(stored.mesh, stored.name),
    ]);
    return this.#compose(stored, certificate, await this.#supported(statement), statement);
  }

  /**
   * Data planes of a mesh that have a certificate but no Dataplane resource: a control plane may send tags instead of storing data planes
   * here. Sorted by name, with an empty `networking`.
   */
  async unregistered(mesh: string, nameContains = ''): Promise<readonly StoredResource[]> {
    const { store } = this.#options;
    const { items } = await store.listResources({ type: 'Dataplane', mesh });
    const registered = new Set(items.map(({ name }) => name));
    const certificates = await store.listCertificates(mesh);
    return certificates
      .filter(({ dataplane }) => !registered.has(dataplane) && dataplane.includes(nameContains))
      .map(({ dataplane, issuedAt }) => ({
        type: 'Dataplane',
        mesh,
        name: dataplane,
        body: '{"networking":{}}',
        version: 0,
        createdAt: issuedAt,
        modifiedAt: issuedAt,
        owned: false,
      }));
  }

  /** Same as `one` for many, in their order; few reads per mesh. */
  async many(resources: readonly StoredResource[]): Promise<readonly JsonObject[]> {
    if (resources.length <= FEW) return Promise.all(resources.map((stored) => this.one(stored)));
    const known = new Map<string, KnownOfMesh>();
    for (const mesh of new Set(resources.map((stored) => stored.mesh))) known.set(mesh, await this.#readMesh(mesh));
    return resources.map((stored) => {
      const of = known.get(stored.mesh);
      const statement = of?.statements.get(stored.name);
      const supported = statement === undefined ? [] : (of?.supported.get(statement.bundleVersion) ?? []);
      return this.#compose(stored, of?.certificates.get(stored.name), supported, statement);
    });
  }

  async #readMesh(mesh: string): Promise<KnownOfMesh> {
    const { store } = this.#options;
    const certificates = new Map((await store.listCertificates(mesh)).map((record) => [record.dataplane, record]));
    const statements = new Map(
      (await store.listTrustStatements(mesh)).map((statement) => [statement.dataplane, statement]),
    );
    const supported = new Map<number, readonly string[]>();
    for (const statement of statements.values()) {
      if (!supported.has(statement.bundleVersion))
        supported.set(statement.bundleVersion, await this.#supported(statement));
    }
    return { certificates, statements, supported };
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
    const { labels, ...dataplane } = JSON.parse(stored.body) as JsonObject;
    const seen = latest([this.#options.lastSeen(stored.mesh, stored.name), certificate?.issuedAt, statement?.statedAt]);
    const insight = {
      ...(seen === undefined ? {} : { subscriptions: [this.#subscription(stored, seen)] }),
      ...(certificate === undefined ? {} : { mTLS: mtlsInsight(certificate, supportedBackends) }),
    };
    return {
      ...resourceMeta(stored, this.#options, 'DataplaneOverview'),
      ...(labels === undefined ? {} : { labels }),
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
