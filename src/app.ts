import { hostname } from 'node:os';
import { ADAPTERS } from '../adapters/index.ts';
import type { Backend } from './backends/backend.ts';
import type { AdapterList } from './backends/backend-factory.ts';
import { Backends } from './backends/backends.ts';
import { createAccess } from './http/access.ts';
import { createOpenApi } from './http/openapi.ts';
import { readApiToken } from './http/read-api-token.ts';
import type { Route } from './http/route.ts';
import { certificateRoutes } from './http/routes/certificates.ts';
import { resourceRoutes } from './http/routes/resources.ts';
import { rotationRoutes } from './http/routes/rotation.ts';
import { serviceRoutes } from './http/routes/service.ts';
import { tokenRoutes } from './http/routes/tokens.ts';
import { trustRoutes } from './http/routes/trust.ts';
import { validationRoutes } from './http/routes/validation.ts';
import { createHttpServer } from './http/server.ts';
import { Certificates } from './issuance/certificates.ts';
import { createBackendGuards } from './issuance/guards/backend-guards.ts';
import { createLastSeen } from './issuance/last-seen.ts';
import { createKeyMaker } from './issuance/make-key.ts';
import { createEndpointQueues } from './issuance/queue/endpoint-queues.ts';
import { IssuerUnavailableError } from './issuer/errors.ts';
import type { CallOptions } from './issuer/issuer.ts';
import { createDataplaneRules } from './resources/dataplane-rules.ts';
import { createMeshRules } from './resources/mesh-rules.ts';
import { Overviews } from './resources/overview.ts';
import { Resources } from './resources/resources.ts';
import { createSecretRules } from './resources/secret-rules.ts';
import { createTrialLine } from './resources/trial-line.ts';
import { validateMesh } from './resources/validate-mesh.ts';
import { createCountLacking } from './rotation/count-lacking.ts';
import { Fleets } from './rotation/fleets.ts';
import { createRootLearner } from './rotation/learn-roots.ts';
import { createMeshReadings } from './rotation/mesh-readings.ts';
import { Rotations } from './rotation/rotations.ts';
import type { Step } from './rotation/step.ts';
import { createStepRules } from './rotation/step-rules.ts';
import { createCalmLog } from './runtime/calm-log.ts';
import { type Clock, systemClock } from './runtime/clock.ts';
import type { Log } from './runtime/log.ts';
import { createMetrics } from './runtime/metrics.ts';
import { createSystemRandom, type Random } from './runtime/random.ts';
import type { Settings } from './runtime/settings.ts';
import { createSharedResources } from './runtime/shared-resources.ts';
import type { SdsServer } from './sds/sds-server.ts';
import { openStore } from './store/open-store.ts';
import { createDataplaneTokens } from './tokens/dataplane-tokens.ts';
import { createHolders } from './trust/holders.ts';
import { TrustBundles } from './trust/trust-bundles.ts';
import { createBackendReadings } from './validation/backend-readings.ts';
import { Canary } from './validation/canary.ts';
import { Proofs } from './validation/proofs.ts';
import { proveBackend } from './validation/prove-backend.ts';
import { VERSION } from './version.ts';

/** What tests may replace. */
export interface AppParts {
  readonly log: Log;
  readonly clock?: Clock;
  readonly random?: Random;
  readonly adapters?: AdapterList;
}

export interface App {
  /** `http://host:port` */
  readonly address: string;
  readonly addresses: Readonly<Record<string, string>>;
  /** Stops taking requests, finishes those under way, closes everything. Idempotent. */
  close(): Promise<void>;
}

/**
 * The composition root: the only place that builds stores, issuers, services and servers.
 * @throws ConfigError when the settings cannot be carried out (store, key file, token file, address)
 */
export async function startApp(settings: Settings, parts: AppParts): Promise<App> {
  const { clock = systemClock, random = createSystemRandom(), adapters = ADAPTERS } = parts;
  const log = createCalmLog(parts.log, clock);
  const apiToken = settings.apiTokenFile === undefined ? undefined : await readApiToken(settings.apiTokenFile);
  const metrics = createMetrics({ clock });
  const store = await openStore(settings.store, { keyFile: settings.storeKeyFile, clock, random, log });
  const backends = new Backends({
    store,
    adapters,
    clock,
    random,
    log,
    metrics,
    fileDirs: settings.fileDataSourceDirs,
    shared: createSharedResources(),
    issuerSettings: settings,
    defaults: { expirationMs: settings.dpCertExpirationMs, issueTimeoutMs: settings.requestTimeoutMs },
  });
  const stopping = new AbortController();
  const lastSeen = createLastSeen(clock);
  const bundles = new TrustBundles({
    ...{ store, backends, clock, log },
    countLacking: createCountLacking({ store, lastSeen, clock, onlineForMs: settings.dataplaneOnlineForMs }),
  });
  const holders = createHolders({ store, clock, log });
  const fleets = new Fleets({
    ...{ store, bundles, holders, lastSeen, clock },
    onlineForMs: settings.dataplaneOnlineForMs,
    settleMs: settings.rotationSettleMs,
  });
  const tokens = createDataplaneTokens({ store, clock, random });
  const guards = createBackendGuards({ store, clock, random, log, limits: settings });
  const queues = createEndpointQueues({ clock });
  const asking = {
    makeKey: createKeyMaker(),
    clock,
    random,
    log,
    profile: settings.certificateProfile,
    keyType: settings.dpKeyType,
  };
  const prove = (backend: Backend, options: CallOptions) => proveBackend(backend, asking, options);
  const learnRoots = createRootLearner({ bundles, log, signal: stopping.signal });
  const proofs = new Proofs({
    store,
    backends,
    clock,
    log,
    prove,
    onProven: (backend, proof) => {
      if (proof.ok) guards.recovered(backend);
      learnRoots(proof);
    },
  });
  const rotations = new Rotations({
    ...{ store, backends, bundles, proofs, fleets, holders, clock, log },
    builtinRootRenewal: settings.builtinRootRenewal,
  });
  const certificates = new Certificates({
    ...{ ...asking, store, backends, bundles, guards, queues },
    plans: rotations.plans,
  });
  const stepRules = createStepRules({ fleets, store });
  const canary = new Canary({ ...asking, ...settings, store, backends, proofs });
  metrics.readFrom(createBackendReadings({ backends, guards, queues, proofs }));
  metrics.readMeshesFrom(createMeshReadings({ bundles, rotations }));
  const line = createTrialLine({ clock });
  const zone = { zoneName: settings.zoneName };
  const checkStep = async (step: Step, options: CallOptions) => {
    rotations.guard(step.before, step.after);
    await stepRules.check(step, options);
  };
  const resources = new Resources(store, {
    Mesh: createMeshRules({
      store,
      backends,
      prove,
      line,
      checkStep,
      note: (proof) => {
        proofs.note(proof);
        learnRoots(proof);
      },
    }),
    Secret: createSecretRules(store, backends),
    Dataplane: createDataplaneRules(store, settings.zoneName, (mesh, dataplane) => {
      lastSeen.forget(mesh, dataplane);
      holders.forget(mesh, dataplane);
    }),
  });
  const overviews = new Overviews({
    ...zone,
    store,
    clock,
    onlineForMs: settings.dataplaneOnlineForMs,
    lastSeen: lastSeen.get,
  });
  const routes: readonly Route[] = [
    ...certificateRoutes({ certificates, lastSeen, holders }),
    ...trustRoutes({ bundles, holders, lastSeen }),
    ...resourceRoutes({ resources, overviews, zone }),
    ...rotationRoutes({ rotations }),
    ...tokenRoutes({ tokens }),
    ...validationRoutes({
      backends,
      proofs,
      validateMesh: (body, options) => validateMesh(body, { backends, prove, line }, options),
    }),
    ...serviceRoutes({
      product: settings.product,
      hostname: hostname(),
      instanceId: `${hostname()}-${random.bytes(2).toString('hex')}`,
      version: VERSION,
      store,
      proofs,
      metrics,
      log,
      openApi: () => createOpenApi(routes, VERSION),
    }),
  ];
  const server = createHttpServer({
    routes,
    access: createAccess({ localhostIsAdmin: settings.localhostIsAdmin, apiToken }),
    clock,
    random,
    log,
    metrics,
  });

  let sds: SdsServer | undefined;
  /** `host:port`; undefined when it is switched off. */
  const startSds = async (): Promise<string | undefined> => {
    if (settings.sdsPort === undefined) return undefined;
    const { createSdsServer } = await import('./sds/sds-server.ts');
    sds = createSdsServer({
      ...{ certificates, bundles, backends, store, holders, lastSeen, rotations, tokens, clock, random, log },
      metrics: metrics.sds,
      settings: { ...settings, sdsPort: settings.sdsPort },
    });
    metrics.readSdsFrom(sds.readings);
    const { host, port } = await sds.listen();
    return hostAndPort(host, port);
  };

  let closing: Promise<void> | undefined;
  const closeAll = async () => {
    stopping.abort(new IssuerUnavailableError('mesh-ca is stopping', { retryAfterMs: 1000 }));
    // Long polls end first, or they would hold the server open; what answers need goes after them, the store last.
    bundles.endWaits();
    await Promise.all([server.close(settings.shutdownTimeoutMs), sds?.close(settings.shutdownTimeoutMs)]);
    await rotations.close();
    await canary.close();
    await proofs.close();
    await certificates.close();
    await queues.close();
    await guards.close();
    tokens.close();
    await bundles.close();
    await backends.close();
    await store.close();
  };
  const close = () => {
    closing ??= closeAll();
    return closing;
  };

  try {
    await guards.restore();
    await proofs.restore();
    await rotations.restore();
    canary.start();
    rotations.start();
    const { host, port } = await server.listen(settings.apiHost, settings.apiPort);
    const address = `http://${hostAndPort(host, port)}`;
    const sdsAddress = await startSds();
    if (apiToken === undefined && !settings.localhostIsAdmin) {
      log.warn({}, 'nobody is admin: set localhostIsAdmin or apiTokenFile');
    }
    return { address, addresses: { api: address, ...(sdsAddress && { sds: sdsAddress }) }, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function hostAndPort(host: string, port: number): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}
