import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createAccess } from '../../src/http/access.ts';
import { HTTP_LIMITS } from '../../src/http/limits.ts';
import { type RotationRoutesOptions, rotationRoutes } from '../../src/http/routes/rotation.ts';
import { rotationAnswer } from '../../src/http/schemas.ts';
import { createHttpServer, type HttpServer } from '../../src/http/server.ts';
import { ConflictError, NotFoundError } from '../../src/issuer/errors.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { silentLog } from '../../src/runtime/log.ts';
import { createMetrics } from '../../src/runtime/metrics.ts';
import { createSystemRandom } from '../../src/runtime/random.ts';
import { parseJson } from '../support/test-app.ts';

const START = new Date('2026-01-02T03:00:00.000Z');
const VIEW = {
  mesh: 'default',
  state: 'trusting' as const,
  phase: 'trusting' as const,
  kind: 'backend' as const,
  direction: 'forward' as const,
  from: 'ca-1',
  to: 'vault-1',
  startedAt: START,
  options: { keepOld: false, maxPerSecond: 50, immediate: false },
  steps: [{ state: 'trusting' as const, at: START }],
  dataplanes: { total: 120, online: 118, trustingNew: 117, usingNew: 0, usingOld: 118 },
  blockers: [{ dataplane: 'web-3', zone: '', waitingFor: 'trust bundle 7 (has 6)', since: START }],
  blockersTotal: 1,
  canSwitch: false,
  canRemoveOld: false,
};

/** Stands in for the rotations, and remembers what it was asked. */
const asked: unknown[] = [];
let failure: Error | undefined;
const answer = async (...call: unknown[]) => {
  asked.push(call);
  if (failure !== undefined) throw failure;
  return VIEW;
};
const rotations: RotationRoutesOptions['rotations'] = {
  view: (mesh) => answer('view', mesh),
  put: (mesh, request) => answer('put', mesh, request),
  rollBack: (mesh) => answer('rollBack', mesh),
};

let server: HttpServer;
let address: string;
beforeAll(async () => {
  server = createHttpServer({
    routes: rotationRoutes({ rotations }),
    access: createAccess({ localhostIsAdmin: false, apiToken: 'admin-token' }),
    clock: systemClock,
    random: createSystemRandom(),
    log: silentLog,
    metrics: createMetrics(),
    limits: HTTP_LIMITS,
  });
  address = `http://127.0.0.1:${(await server.listen('127.0.0.1', 0)).port}`;
});
beforeEach(() => {
  asked.length = 0;
  failure = undefined;
});
afterAll(() => server.close(0));

async function request(method: string, body?: unknown, token = 'admin-token') {
  const response = await fetch(`${address}/meshes/default/_rotation`, {
    method,
    headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, text, json: parseJson(text) };
}

describe('/meshes/{mesh}/_rotation', () => {
  it.each<[method: string, body: object | undefined, status: number, call: readonly unknown[]]>([
    ['GET', undefined, 200, ['view', 'default']],
    ['PUT', { to: 'vault-1' }, 202, ['put', 'default', { to: 'vault-1' }]],
    ['DELETE', undefined, 202, ['rollBack', 'default']],
  ])('%s answers in the shape of API.md, and is not to be kept', async (method, body, status, call) => {
    const { json, headers, ...answered } = await request(method, body);
    expect([answered.status, asked]).toEqual([status, [call]]);
    expect(json).toEqual(JSON.parse(JSON.stringify(VIEW)));
    expect(rotationAnswer.safeParse(json).error).toBeUndefined();
    expect(headers.get('cache-control')).toBe('no-store');
  });

  it.each<[string, object]>([
    ['nothing but the target', { to: 'a' }],
    ['everything', { to: 'a', keepOld: true, maxPerSecond: 1, paused: true, immediate: false }],
    ['the highest rate', { to: 'a', maxPerSecond: 10_000 }],
  ])('PUT hands on what was sent and nothing else: %s', async (_name, body) => {
    expect((await request('PUT', body)).status).toBe(202);
    expect(asked).toEqual([['put', 'default', body]]);
  });

  it.each<[string, unknown, string | undefined]>([
    ['no target', { keepOld: true }, 'to'],
    ['an empty target', { to: '' }, 'to'],
    ['a target of 254 characters', { to: 'a'.repeat(254) }, 'to'],
    ['a target that is no text', { to: 5 }, 'to'],
    ['an unknown field', { to: 'a', keepold: true }, 'keepold'],
    ['a rate of 0', { to: 'a', maxPerSecond: 0 }, 'maxPerSecond'],
    ['a rate that is no whole number', { to: 'a', maxPerSecond: 1.5 }, 'maxPerSecond'],
    ['a rate that is too high', { to: 'a', maxPerSecond: 10_001 }, 'maxPerSecond'],
    ['a rate as text', { to: 'a', maxPerSecond: '5' }, 'maxPerSecond'],
    ['null', { to: 'a', paused: null }, 'paused'],
    ['immediate as text', { to: 'a', immediate: 'true' }, 'immediate'],
    ['a list', [], ''],
    ['no JSON', '{', undefined],
    ['nothing', undefined, undefined],
  ])('PUT refuses %s', async (_name, body, field) => {
    const { status, json } = await request('PUT', body);
    expect([status, json.code, asked]).toEqual([400, 'ERR_REQUEST_INVALID', []]);
    if (field !== undefined) expect(json.invalid_parameters?.[0]?.field).toBe(field);
  });

  it('PUT refuses a body that is too large', async () => {
    expect((await request('PUT', { to: 'a'.repeat(20_000) })).status).toBe(413);
  });

  it.each(['GET', 'PUT', 'DELETE'])('%s is for admins only', async (method) => {
    const body = method === 'PUT' ? { to: 'a' } : undefined;
    expect((await request(method, body, 'another-token')).status).toBe(401);
    expect(asked).toEqual([]);
  });

  it.each([
    [new NotFoundError('mesh "default" not found'), 404, 'ERR_NOT_FOUND'],
    [new ConflictError('a rotation to "x" is under way', { fix: 'roll it back first' }), 409, 'ERR_CONFLICT'],
  ])('tells what stands in the way: %s', async (error, status, code) => {
    failure = error;
    for (const [method, body] of [['GET'], ['PUT', { to: 'a' }], ['DELETE']] as const) {
      const { json, ...answered } = await request(method, body);
      expect([answered.status, json.code, json.detail]).toEqual([status, code, error.message]);
    }
  });
});
