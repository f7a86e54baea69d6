import type { LastSeen } from '../../issuance/last-seen.ts';
import { RequestInvalidError } from '../../issuer/errors.ts';
import { parseDuration } from '../../mesh/duration.ts';
import { BUNDLE_FORMATS, type BundleFormat, writeBundle } from '../../trust/bundle-formats.ts';
import type { Holders } from '../../trust/holders.ts';
import type { TrustBundles } from '../../trust/trust-bundles.ts';
import { HttpError } from '../problem.ts';
import { requireName } from '../read-names.ts';
import type { Answer, Call, Reply, Route } from '../route.ts';
import { anyJson, trustBundle } from '../schemas.ts';

const LONGEST_WAIT_MS = 300_000;

export interface TrustRoutesOptions {
  readonly bundles: TrustBundles;
  readonly holders: Holders;
  readonly lastSeen: LastSeen;
}

export function trustRoutes({ bundles, holders, lastSeen }: TrustRoutesOptions): readonly Route[] {
  const answers: Readonly<Record<number, Answer>> = {
    200: {
      description: 'The roots of all backends of the mesh; ETag is the version',
      content: {
        'application/x-pem-file': anyJson,
        'application/json': trustBundle,
        'application/spiffe+json': anyJson,
      },
    },
    304: { description: 'Nothing changed since the version of If-None-Match' },
  };
  const query = { wait: 'With If-None-Match: wait this long for a change, such as 30s; at most 300s' };

  const answer = async (call: Call, mesh: string): Promise<Reply> => {
    const format = chooseFormat(call.headers.accept);
    const known = knownVersion(call.headers['if-none-match']);
    const waitMs = readWait(call.query.get('wait'));
    let bundle = await bundles.get(mesh, call);
    if (known === bundle.version && waitMs > 0) {
      bundle = (await bundles.waitForChange(mesh, known, waitMs, call)) ?? bundle;
    }
    const headers = { etag: `"${bundle.version}"`, vary: 'Accept', 'cache-control': 'no-cache' };
    if (known === bundle.version) return { status: 304, headers };
    return { status: 200, headers, contentType: format, body: writeBundle(bundle, format) };
  };

  return [
    {
      method: 'GET',
      path: '/meshes/:mesh/_trust-bundle',
      summary: 'Trust bundle of a mesh: PEM, JSON or SPIFFE bundle by Accept',
      tag: 'trust',
      access: 'anyone',
      query,
      answers,
      handle: (call) => answer(call, call.params.mesh ?? ''),
    },
    {
      method: 'GET',
      path: '/meshes/:mesh/dataplanes/:dataplane/_trust-bundle',
      summary: 'The same; If-None-Match is the statement of this data plane that it holds that version',
      tag: 'trust',
      access: 'admin',
      query,
      answers,
      async handle(call) {
        const { mesh = '', dataplane = '' } = call.params;
        requireName('dataplane', dataplane);
        const release = lastSeen.hold(mesh, dataplane);
        try {
          const bundle = await bundles.get(mesh, call);
          const known = knownVersion(call.headers['if-none-match']);
          // A version that was never given out proves nothing.
          if (known !== undefined && known > 0 && known <= bundle.version) {
            await holders.accepted(mesh, dataplane, known);
          }
          return await answer(call, mesh);
        } finally {
          release();
        }
      },
    },
  ];
}

/** Weak and strong tags are the same to us; a list or `*` states nothing. */
function knownVersion(header: string | undefined): number | undefined {
  const version = /^(?:W\/)?"(\d{1,15})"$/.exec(header?.trim() ?? '')?.[1];
  return version === undefined ? undefined : Number(version);
}

function readWait(text: string | null): number {
  if (text === null) return 0;
  const ms = parseDuration(text);
  if (ms === undefined || ms > LONGEST_WAIT_MS) {
    throw new RequestInvalidError(`wait ${JSON.stringify(text.slice(0, 40))} is not a duration of at most 300s`, {
      violations: [{ field: 'wait', message: 'has to be a duration of at most 300s, such as 30s' }],
    });
  }
  return ms;
}

function chooseFormat(accept: string | undefined): BundleFormat {
  const [first] = BUNDLE_FORMATS;
  if (accept === undefined || accept.trim() === '') return first;
  const wanted = accept.split(',').map((part) => {
    const [type = '', ...parameters] = part.trim().toLowerCase().split(';');
    const quality = parameters
      .map((parameter) => /^\s*q=([01](?:\.\d{1,3})?)\s*$/.exec(parameter)?.[1])
      .find((q) => q !== undefined);
    return { type: type.trim(), quality: Number(quality ?? 1) };
  });
  // The sort is stable: of equal ones the first counts.
  for (const { type, quality } of wanted.sort((a, b) => b.quality - a.quality)) {
    if (quality === 0) continue;
    if (type === '*/*' || type === 'application/*') return first;
    const format = BUNDLE_FORMATS.find((known) => known === type);
    if (format !== undefined) return format;
  }
  throw new HttpError(
    406,
    'Not Acceptable',
    `no trust bundle as ${accept.slice(0, 100)}`,
    `accept one of ${BUNDLE_FORMATS.join(', ')}`,
  );
}
