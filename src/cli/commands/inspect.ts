import type { Command } from 'commander';
import { z } from 'zod';
import type { CliIo } from '../cli-io.ts';
import { collectTag, withClient } from '../client-options.ts';
import { print } from '../output.ts';
import { withProgress } from '../progress.ts';
import {
  formatNetworkingTags,
  metaSchema,
  type NetworkingView,
  networkingSchema,
  tableView,
  toTable,
} from '../resource-views.ts';
import { formatAgo, formatDate } from '../time-text.ts';

/** Protobuf JSON writes 64-bit integers as texts. */
const count = z
  .union([z.number(), z.string().regex(/^\d{1,20}$/)])
  .transform(Number)
  .default(0);

const overviewSchema = metaSchema.extend({
  dataplane: z.looseObject({ networking: networkingSchema }).prefault({}),
  dataplaneInsight: z
    .looseObject({
      subscriptions: z
        .array(
          z.looseObject({
            connectTime: z.string().optional(),
            disconnectTime: z.string().optional(),
            status: z
              .looseObject({
                lastUpdateTime: z.string().optional(),
                total: z.looseObject({ responsesSent: count, responsesRejected: count }).prefault({}),
              })
              .prefault({}),
          }),
        )
        .default([]),
      mTLS: z
        .looseObject({
          certificateExpirationTime: z.string().optional(),
          lastCertificateRegeneration: z.string().optional(),
          certificateRegenerations: count,
          issuedBackend: z.string().default(''),
          supportedBackends: z.array(z.string()).default([]),
        })
        .optional(),
    })
    .prefault({}),
});
type Insight = z.output<typeof overviewSchema>['dataplaneInsight'];

/** kumactl's columns: the product page's, and its two on backends. */
const OVERVIEW = tableView(
  [
    'MESH',
    'NAME',
    'TAGS',
    'STATUS',
    'LAST CONNECTED AGO',
    'LAST UPDATED AGO',
    'TOTAL UPDATES',
    'TOTAL ERRORS',
    'CERT REGENERATED AGO',
    'CERT EXPIRATION',
    'CERT REGENERATIONS',
    'CERT BACKEND',
    'SUPPORTED CERT BACKENDS',
  ],
  overviewSchema,
  ({ mesh, name, dataplane: { networking }, dataplaneInsight: insight }, now) => {
    const last = insight.subscriptions.at(-1);
    const { mTLS } = insight;
    const sum = (key: 'responsesSent' | 'responsesRejected') =>
      insight.subscriptions.reduce((total, { status }) => total + status.total[key], 0);
    return [
      mesh,
      name,
      formatNetworkingTags(networking),
      statusOf(insight, networking),
      formatAgo(last?.connectTime, now),
      formatAgo(last?.status.lastUpdateTime, now),
      String(sum('responsesSent')),
      String(sum('responsesRejected')),
      formatAgo(mTLS?.lastCertificateRegeneration, now),
      formatDate(mTLS?.certificateExpirationTime),
      String(mTLS?.certificateRegenerations ?? 0),
      mTLS?.issuedBackend || '-',
      mTLS?.supportedBackends.join(',') || '-',
    ];
  },
);

/** Kuma's rule: online while a subscription is open, less so while inbounds are not ready. */
function statusOf({ subscriptions }: Insight, { inbound, gateway }: NetworkingView): string {
  const online = subscriptions.some(({ connectTime, disconnectTime }) => connectTime && !disconnectTime);
  if (!online) return 'Offline';
  const notReady = inbound.filter(({ state, health }) =>
    state === undefined ? health?.ready === false : state !== 'Ready',
  ).length;
  if (gateway !== undefined || notReady === 0) return 'Online';
  return notReady === inbound.length ? 'Offline' : 'Partially degraded';
}

/** `mesh-ca inspect dataplanes` */
export function configureInspect(command: Command, io: CliIo): void {
  command
    .command('dataplanes')
    .description('data planes with their status and certificates')
    .configureHelp({ showGlobalOptions: true })
    .option('--tag <tag=value>', 'only data planes with this tag; repeatable', collectTag)
    .option('--gateway', 'only gateways')
    .addHelpText('after', '\nExample:\n  mesh-ca inspect dataplanes -m demo --tag kuma.io/service=web')
    .action((options: { tag?: Record<string, string[]>; gateway?: boolean }) =>
      withClient(command, io, async (context) => {
        const query = new URLSearchParams();
        for (const [tag, values] of Object.entries(options.tag ?? {})) {
          for (const value of values) query.append('tag', `${tag}:${value}`);
        }
        if (options.gateway) query.append('gateway', 'true');
        const path = `/meshes/${encodeURIComponent(context.mesh)}/dataplanes/_overview`;
        const items = await withProgress(io, 'reading data planes', () =>
          context.api.list(query.size > 0 ? `${path}?${query}` : path),
        );
        await print(context, { total: items.length, items, next: null }, () =>
          toTable(OVERVIEW, items, io.clock.now()),
        );
      }),
    );
}
