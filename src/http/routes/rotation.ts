import type { CallOptions } from '../../issuer/issuer.ts';
import type { RotationRequest } from '../../rotation/rotation-request.ts';
import type { RotationView } from '../../rotation/rotation-view.ts';
import { json, type Route, route } from '../route.ts';
import { type RotationRequestBody, rotationAnswer, rotationRequest } from '../schemas.ts';

const MAX_BODY_BYTES = 16 * 1024;

export interface RotationRoutesOptions {
  readonly rotations: RotationCalls;
}

/** What of `Rotations` is reached from outside. Each throws NotFoundError when there is no such mesh. */
interface RotationCalls {
  view(mesh: string, options: CallOptions): Promise<RotationView>;
  /** @throws RequestInvalidError, ConflictError */
  put(mesh: string, request: RotationRequest, options: CallOptions): Promise<RotationView>;
  /** @throws ConflictError: it is too late */
  rollBack(mesh: string, options: CallOptions): Promise<RotationView>;
}

/** State of a rotation, managed or step by step; start, change and roll-back of a managed one (API.md, "Rotation"). */
export function rotationRoutes({ rotations }: RotationRoutesOptions): readonly Route[] {
  const common = { path: '/meshes/:mesh/_rotation', tag: 'rotation', access: 'admin' } as const;
  const content = { 'application/json': rotationAnswer };
  return [
    {
      ...common,
      method: 'GET',
      summary: 'How far the rotation of a mesh is, and who is waited for',
      answers: { 200: { description: 'State, numbers and blockers', content } },
      handle: async ({ params: { mesh = '' }, signal }) => json(200, await rotations.view(mesh, { signal }), NOT_KEPT),
    },
    route<RotationRequestBody>({
      ...common,
      method: 'PUT',
      summary: 'Start a managed rotation, or change the one that is under way',
      body: { kind: 'json', schema: rotationRequest, maxBytes: MAX_BODY_BYTES },
      answers: { 202: { description: 'It is under way, as it is now', content } },
      async handle({ params: { mesh = '' }, body, signal }) {
        return json(202, await rotations.put(mesh, requestOf(body), { signal }), NOT_KEPT);
      },
    }),
    {
      ...common,
      method: 'DELETE',
      summary: 'Roll the rotation of a mesh back',
      answers: { 202: { description: 'It rolls back, as it is now', content } },
      handle: async ({ params: { mesh = '' }, signal }) =>
        json(202, await rotations.rollBack(mesh, { signal }), NOT_KEPT),
    },
  ];
}

/** The next answer may be another one. */
const NOT_KEPT = { 'cache-control': 'no-store' };

/** Only what was sent: what an absent field means is the rotation's matter. */
function requestOf({ to, keepOld, maxPerSecond, paused, immediate }: RotationRequestBody): RotationRequest {
  return {
    to,
    ...(keepOld === undefined ? {} : { keepOld }),
    ...(maxPerSecond === undefined ? {} : { maxPerSecond }),
    ...(paused === undefined ? {} : { paused }),
    ...(immediate === undefined ? {} : { immediate }),
  };
}
