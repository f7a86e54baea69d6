import { KINDS } from '../../mesh/kinds.ts';
import type { Log } from '../../runtime/log.ts';
import type { Metrics } from '../../runtime/metrics.ts';
import type { Store } from '../../store/store.ts';
import type { Proofs } from '../../validation/proofs.ts';
import { json, type Reply, type Route } from '../route.ts';
import { anyJson, index, readyAnswer } from '../schemas.ts';

/** Kuma release whose API we follow; kumactl compares it with its own. */
const KUMA_VERSION = '2.14.3';

export interface ServiceRoutesOptions {
  readonly product: string;
  readonly hostname: string;
  readonly instanceId: string;
  readonly version: string;
  readonly store: Store;
  readonly proofs: Pick<Proofs, 'unproven'>;
  readonly metrics: Metrics;
  readonly log: Log;
  /** Asked once. */
  openApi(): object;
}

export function serviceRoutes(options: ServiceRoutesOptions): readonly Route[] {
  const { store, proofs, metrics, log } = options;
  const open = { method: 'GET', tag: 'service', access: 'anyone' } as const;
  // It never changes, and making it costs more than anything else that a stranger may ask for.
  let openApi: Reply | undefined;
  const jsonAnswer = (description: string) => ({ 200: { description, content: { 'application/json': anyJson } } });
  return [
    {
      ...open,
      path: '/',
      summary: 'What answers here; kumactl reads it without credentials',
      answers: { 200: { description: 'Product and version', content: { 'application/json': index } } },
      handle: () =>
        json(200, {
          hostname: options.hostname,
          product: options.product,
          version: KUMA_VERSION,
          instanceId: options.instanceId,
          clusterId: '',
          gui: '',
          meshCaVersion: options.version,
        }),
    },
    {
      ...open,
      path: '/healthz',
      summary: 'The process lives',
      answers: jsonAnswer('Alive'),
      handle: () => json(200, { status: 'ok' }),
    },
    {
      ...open,
      path: '/readyz',
      summary: 'Requests can be served: the store answers. Tells which enabled backends are not proven',
      answers: {
        200: { description: 'Ready', content: { 'application/json': readyAnswer } },
        503: { description: 'Not ready' },
      },
      async handle() {
        try {
          await store.ping();
          // A backend that fails is no reason to send nobody here any more: the other meshes work, and so does what was issued.
          const { unproven, total } = await proofs.unproven();
          return json(200, { status: 'ok', unproven, unprovenTotal: total });
        } catch (error) {
          log.warn({ err: error }, 'not ready');
          return json(503, { status: 'unavailable', store: 'does not answer' });
        }
      },
    },
    {
      ...open,
      path: '/metrics',
      summary: 'Prometheus metrics',
      answers: { 200: { description: 'Text format', content: { 'text/plain': anyJson } } },
      handle: async () => ({ status: 200, contentType: metrics.contentType, body: await metrics.text() }),
    },
    {
      ...open,
      path: '/openapi.json',
      summary: 'This API, OpenAPI 3.1',
      answers: jsonAnswer('OpenAPI'),
      handle: () => (openApi ??= json(200, options.openApi())),
    },
    {
      ...open,
      access: 'admin',
      path: '/_resources',
      summary: 'Kinds of resources',
      answers: jsonAnswer('Kinds'),
      handle: () =>
        json(200, {
          resources: KINDS.map((kind) => ({
            name: kind.type,
            path: kind.path,
            scope: kind.scope,
            readOnly: kind.readOnly,
            singularDisplayName: kind.singularDisplayName,
            pluralDisplayName: kind.pluralDisplayName,
            shortName: kind.shortName,
            includeInFederation: kind.includeInFederation,
          })),
        }),
    },
    {
      ...open,
      access: 'known',
      path: '/who-am-i',
      summary: 'Who the caller is',
      answers: jsonAnswer('Name and groups'),
      handle: ({ caller }) => json(200, { name: caller.name, groups: caller.groups }),
    },
    {
      ...open,
      access: 'admin',
      path: '/policies',
      summary: 'Policies; there are none here',
      answers: jsonAnswer('An empty list'),
      handle: () => json(200, { policies: [] }),
    },
  ];
}
