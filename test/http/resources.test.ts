import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { builtinMesh, dataplane, startTestApp, type TestApp } from '../support/test-app.ts';

let test: TestApp;
beforeAll(async () => {
  test = await startTestApp();
  await test.ok('PUT', '/meshes/default', builtinMesh('default'));
});
afterAll(() => test.close());

describe('PUT and GET', () => {
  it('answer 201 for new, 200 for replaced, with an empty object', async () => {
    const put = () => test.request('PUT', '/meshes/made', { type: 'Mesh', name: 'made' });
    const [first, second] = [await put(), await put()];
    expect([first.status, first.text, second.status, second.text]).toEqual([201, '{}', 200, '{}']);
  });

  it('give a Mesh as Kuma shapes it: defaults left out, unknown fields dropped, kri and times there', async () => {
    const body = {
      type: 'Mesh',
      name: 'shaped',
      unknown: 1,
      mtls: {
        enabledBackend: 'a',
        backends: [{ name: 'a', type: 'builtin', mode: 'STRICT', conf: { caCert: { keyType: 'EC-P256' } } }],
      },
    };
    await test.ok('PUT', '/meshes/shaped', body);
    const { json } = await test.ok('GET', '/meshes/shaped');
    expect(json).toEqual({
      type: 'Mesh',
      name: 'shaped',
      kri: 'kri_m____shaped_',
      creationTime: expect.stringMatching(/^\d{4}-.*Z$/),
      modificationTime: expect.stringMatching(/^\d{4}-.*Z$/),
      mtls: {
        enabledBackend: 'a',
        backends: [{ name: 'a', type: 'builtin', conf: { caCert: { keyType: 'EC-P256' } } }],
      },
    });
  });

  it('warn about a mesh name that is no DNS label', async () => {
    const { status, json } = await test.request('PUT', '/meshes/1st', { type: 'Mesh', name: '1st' });
    expect(status).toBe(201);
    expect(String(json.warnings?.[0])).toContain('RFC 1035');
  });

  it('are refused while a secret that a backend needs is not there, and stored unproven when the mesh wants that', async () => {
    const fromCp = { address: 'http://127.0.0.1:1', pki: 'p', role: 'r', auth: { token: { secret: 'gone' } } };
    const mtls = { enabledBackend: 'v', backends: [{ name: 'v', type: 'vault', conf: { fromCp } }] };
    const refused = await test.request('PUT', '/meshes/early', { type: 'Mesh', name: 'early', mtls });
    expect([refused.status, refused.json.invalid_parameters]).toEqual([
      400,
      [
        {
          field: 'mtls.backends[0].conf.fromCp.auth.token',
          reason: 'could not load data: resource not found: type="Secret" name="gone" mesh="early"',
        },
      ],
    ]);
    expect((await test.request('GET', '/meshes/early')).status).toBe(404);
    const unproven = { ...mtls, skipValidation: true };
    expect((await test.request('PUT', '/meshes/early', { type: 'Mesh', name: 'early', mtls: unproven })).status).toBe(
      201,
    );
  });

  it('make the secrets of a builtin CA, owned by the mesh', async () => {
    const { json } = await test.ok('GET', '/meshes/default/secrets');
    expect(json.total).toBe(2);
    expect(JSON.stringify(json.items)).toContain('"default.ca-builtin-cert-ca-1"');
    const secret = await test.ok('GET', '/meshes/default/secrets/default.ca-builtin-cert-ca-1');
    expect(Buffer.from(String(secret.json.data), 'base64').toString()).toMatch(/^-----BEGIN CERTIFICATE-----/);
    expect(secret.json.kri).toBeUndefined();
  });

  it('add the zone to the tags of a data plane', async () => {
    await test.ok('PUT', '/meshes/default/dataplanes/zoned', dataplane('default', 'zoned', { 'kuma.io/service': 'a' }));
    const { json } = await test.ok('GET', '/meshes/default/dataplanes/zoned');
    expect(json.networking?.inbound?.[0]?.tags).toEqual({ 'kuma.io/service': 'a', 'kuma.io/zone': 'default' });
    expect(json.kri).toBe('kri_dp_default_default__zoned_');
  });
});

describe('lists', () => {
  it('are paged, sorted and filtered', async () => {
    await test.ok('PUT', '/meshes/paged', { type: 'Mesh', name: 'paged' });
    for (const name of ['c', 'a', 'b']) {
      await test.ok(
        'PUT',
        `/meshes/paged/dataplanes/dp-${name}`,
        dataplane('paged', `dp-${name}`, { 'kuma.io/service': `svc-${name}` }),
      );
    }
    const names = (json: TestJson) =>
      Array.from({ length: 3 }, (_, index) => json.items?.[index]?.name).filter(Boolean);
    const first = await test.ok('GET', '/meshes/paged/dataplanes?size=2');
    expect([first.json.total, names(first.json)]).toEqual([3, ['dp-a', 'dp-b']]);
    expect(String(first.json.next)).toBe(`${test.app.address}/meshes/paged/dataplanes?size=2&offset=2`);
    const second = await fetch(String(first.json.next));
    expect(names((await second.json()) as TestJson)).toEqual(['dp-c']);
    expect(names((await test.ok('GET', '/meshes/paged/dataplanes?name=-b')).json)).toEqual(['dp-b']);
    expect(names((await test.ok('GET', '/meshes/paged/dataplanes?tag=kuma.io/service:svc-c')).json)).toEqual(['dp-c']);
    expect((await test.ok('GET', '/meshes/paged/dataplanes/_overview')).json.total).toBe(3);
    expect((await test.ok('GET', '/meshes/paged/dataplanes+insights')).json.total).toBe(3);
  });

  describe('of data planes', () => {
    const GATEWAYS = [
      { name: 'plain', gateway: undefined, labels: { team: 'a' } },
      { name: 'builtin', gateway: { type: 'BUILTIN', tags: { 'kuma.io/service': 'gw' } }, labels: { team: 'b' } },
      { name: 'delegated', gateway: { tags: { 'kuma.io/service': 'gw' } }, labels: {} },
    ];
    beforeAll(async () => {
      await test.ok('PUT', '/meshes/kinds', builtinMesh('kinds'));
      for (const { name, gateway, labels } of GATEWAYS) {
        const networking =
          gateway === undefined
            ? { address: '127.0.0.1', inbound: [{ port: 1, tags: { 'kuma.io/service': 'web' } }] }
            : { address: '127.0.0.1', gateway };
        await test.ok('PUT', `/meshes/kinds/dataplanes/${name}`, {
          type: 'Dataplane',
          mesh: 'kinds',
          name,
          labels,
          networking,
        });
      }
      // Without a resource it has no tags and labels that a filter could look at.
      await test.ok('POST', '/meshes/kinds/dataplanes/unknown/_certificate', { tags: { 'kuma.io/service': 'web' } });
    });

    it.each([
      ['gateway=true', ['builtin', 'delegated']],
      ['gateway=false', ['plain']],
      ['gateway=builtin', ['builtin']],
      ['gateway=DELEGATED', ['delegated']],
      ['gateway=true&tag=kuma.io/service:gw&name=del', ['delegated']],
      ['filter[labels.team]=a', ['plain']],
      ['filter[labels.kuma.io/proxy-type]=gateway', ['builtin']],
      ['filter[labels.kuma.io/proxy-type]=sidecar&filter[labels.team]=a', ['plain']],
      ['filter[labels.none]=a', []],
      ['filter[labels.constructor]=a', []],
      ['format=universal&gateway=builtin', ['builtin']],
    ])('are filtered by %s, also as overviews', async (query, expected) => {
      for (const path of ['dataplanes', 'dataplanes/_overview']) {
        const { json } = await test.ok('GET', `/meshes/kinds/${path}?${query}`);
        const found = expected.map((_, index) => json.items?.[index]?.name);
        expect([json.total, found, json.next]).toEqual([expected.length, expected, null]);
      }
    });

    it('are paged after the filter', async () => {
      const { json } = await test.ok('GET', '/meshes/kinds/dataplanes?gateway=true&size=1');
      expect([json.total, json.items?.[0]?.name, json.items?.[1]]).toEqual([2, 'builtin', undefined]);
      const next = await fetch(String(json.next));
      expect(((await next.json()) as TestJson).items?.[0]?.name).toBe('delegated');
    });

    it('tell the labels that Kuma computes, with the proxy type, also in overviews', async () => {
      const types: unknown[] = [];
      for (const { name } of GATEWAYS) {
        const { json } = await test.ok('GET', `/meshes/kinds/dataplanes/${name}`);
        const overview = await test.ok('GET', `/meshes/kinds/dataplanes/${name}/_overview`);
        expect(overview.json.labels).toEqual(json.labels);
        types.push(json.labels?.['kuma.io/proxy-type']);
      }
      expect(types).toEqual(['sidecar', 'gateway', 'sidecar']);
    });
  });

  it.each([
    ['/meshes/none/dataplanes?gateway=maybe', 'gateway'],
    ['/meshes?filter[name]=a', 'filter[name]'],
    ['/meshes?filter[labels.a][like]=a', 'filter[labels.a][like]'],
    ['/meshes?format=kubernetes', 'format'],
    ['/meshes/default?format=k8s', 'format'],
    ['/meshes/default/dataplanes/any/_overview?format=other', 'format'],
  ])('%s is refused', async (path, field) => {
    const { status, json } = await test.request('GET', path);
    expect([status, json.detail, json.invalid_parameters?.[0]?.field]).toEqual([400, 'Resource is not valid', field]);
    expect(String(json.title)).toMatch(/^Could not retrieve /);
  });

  it('of meshes and secrets do not know the filters of data planes', async () => {
    for (const path of ['/meshes', '/meshes/default/secrets']) {
      expect((await test.request('GET', `${path}?tag=a:b&gateway=true`)).json.total).toBeGreaterThan(0);
    }
  });

  it.each([
    ['size=0', 400, 'size'],
    ['size=1001', 400, 'size'],
    ['size=x', 400, 'size'],
    ['offset=x', 400, undefined],
  ])('refuse ?%s', async (query, status, field) => {
    const answer = await test.request('GET', `/meshes?${query}`);
    expect([answer.status, answer.json.invalid_parameters?.[0]?.field]).toEqual([status, field]);
  });
});

type TestJson = Awaited<ReturnType<TestApp['ok']>>['json'];

const mtls = (backend: object, more: object = {}) => ({
  type: 'Mesh',
  name: 'm',
  mtls: { enabledBackend: 'ca', backends: [{ name: 'ca', ...backend }], ...more },
});

/** What Kuma says, in its frame: title, then field=reason. */
const REFUSED: readonly {
  name: string;
  path: string;
  body: unknown;
  title: string;
  field: string;
  reason: string | RegExp;
}[] = [
  {
    name: 'a type without adapter',
    path: '/meshes/m',
    body: mtls({ type: 'magic' }),
    title: 'Failed to create a resource',
    field: 'mtls.backends[0].type',
    reason: 'could not find installed plugin for this type',
  },
  {
    name: 'an unknown enabledBackend',
    path: '/meshes/m',
    body: mtls({ type: 'builtin' }, { enabledBackend: 'x' }),
    title: 'Could not process a resource',
    field: 'mtls.enabledBackend',
    reason: 'has to be set to one of the backends in the mesh',
  },
  {
    name: 'a bad expiration',
    path: '/meshes/m',
    body: mtls({ type: 'builtin', dpCert: { rotation: { expiration: '1h30m' } } }),
    title: 'Could not process a resource',
    field: 'mtls.dpcert.rotation.expiration',
    reason: 'has to be a valid format',
  },
  {
    name: 'a provided backend without key',
    path: '/meshes/m',
    body: mtls({ type: 'provided', conf: { cert: { secret: 'a' } } }),
    title: 'Failed to create a resource',
    field: 'mtls.backends[0].conf.key',
    reason: 'has to be defined',
  },
  {
    name: 'a provided backend whose secret is missing',
    path: '/meshes/m',
    body: mtls({ type: 'provided', conf: { cert: { secret: 'a' }, key: { secret: 'b' } } }),
    title: 'Failed to create a resource',
    field: 'mtls.backends[0].conf.cert',
    reason: 'could not load data: resource not found: type="Secret" name="b" mesh="m"',
  },
  {
    name: 'a name that differs from the URL',
    path: '/meshes/m',
    body: { type: 'Mesh', name: 'n' },
    title: 'Could not process a resource',
    field: 'name',
    reason: 'name from the URL has to be the same as in body',
  },
  {
    name: 'a type that differs from the URL',
    path: '/meshes/m',
    body: { type: 'Secret', name: 'm' },
    title: 'Could not process a resource',
    field: 'type',
    reason: 'type from the URL has to be the same as in body',
  },
  {
    name: 'a name with capitals',
    path: '/meshes/M',
    body: { type: 'Mesh', name: 'M' },
    title: 'Could not process a resource',
    field: 'name',
    reason: /^invalid characters/,
  },
  {
    name: 'a mesh name of 64 characters',
    path: `/meshes/${'m'.repeat(64)}`,
    body: { type: 'Mesh', name: 'm'.repeat(64) },
    title: 'Failed to create a resource',
    field: 'name',
    reason: 'cannot be longer than 63 characters',
  },
  {
    name: 'a secret that is not base64',
    path: '/meshes/default/secrets/s',
    body: { type: 'Secret', mesh: 'default', name: 's', data: '???' },
    title: 'Could not process a resource',
    field: 'data',
    reason: /base64/,
  },
  {
    name: 'a mesh in the body that differs from the URL',
    path: '/meshes/default/secrets/s',
    body: { type: 'Secret', mesh: 'other', name: 's', data: '' },
    title: 'Could not process a resource',
    field: 'mesh',
    reason: 'mesh from the URL has to be the same as in body',
  },
  {
    name: 'a file source while files are off',
    path: '/meshes/m',
    body: mtls({ type: 'provided', conf: { cert: { file: '/etc/passwd' }, key: { file: '/etc/passwd' } } }),
    title: 'Failed to create a resource',
    field: 'mtls.backends[0].conf.cert',
    reason: /file data sources are switched off/,
  },
];

describe('PUT refuses', () => {
  it.each(REFUSED)('$name', async ({ path, body, title, field, reason }) => {
    const { status, json } = await test.request('PUT', path, body);
    expect([status, json.title, json.detail]).toEqual([400, title, 'Resource is not valid']);
    const found = Array.from({ length: 10 }, (_, index) => json.invalid_parameters?.[index]).find(
      (one) => String(one?.field) === field,
    );
    expect(String(found?.reason)).toMatch(reason instanceof RegExp ? reason : new RegExp(`^${quoted(reason)}$`));
    expect((await test.request('GET', path)).status).toBe(404);
  });

  it('with all mistakes of all backends at once', async () => {
    const backends = [
      { name: 'a', type: 'magic' },
      { name: 'b', type: 'provided', conf: {} },
      { name: 'c', type: 'builtin', conf: { caCert: { RSAbits: 512, expiration: 'soon' } } },
    ];
    const { json } = await test.request('PUT', '/meshes/m', { type: 'Mesh', name: 'm', mtls: { backends } });
    const fields = Array.from({ length: 9 }, (_, index) => json.invalid_parameters?.[index]?.field).filter(Boolean);
    expect(fields).toEqual([
      'mtls.backends[0].type',
      'mtls.backends[1].conf.cert',
      'mtls.backends[1].conf.key',
      'mtls.backends[2].conf.caCert.RSAbits',
      'mtls.backends[2].conf.caCert.expiration',
    ]);
  });

  it.each([
    ['valid', { type: 'Secret', mesh: 'none', name: 's', data: '' }],
    ['malformed', '{"type": '],
    ['too large', { type: 'Secret', mesh: 'none', name: 's', data: 'a'.repeat(3_000_000) }],
  ])('a resource of a mesh that is not there with 404, also one that is %s', async (_name, body) => {
    const { status, json } = await test.request('PUT', '/meshes/none/secrets/s', body);
    expect([status, json.title, json.detail]).toEqual([404, 'Failed to retrieve Mesh', 'Not found']);
  });
});

describe('DELETE', () => {
  it('refuses a secret in use, in the words of Kuma', async () => {
    const { status, json } = await test.request('DELETE', '/meshes/default/secrets/default.ca-builtin-key-ca-1');
    expect([status, json.title]).toEqual([400, 'Could not delete a resource']);
    expect(json.invalid_parameters?.[0]).toEqual({
      field: 'name',
      reason:
        'The secret "default.ca-builtin-key-ca-1" that you are trying to remove is currently in use in Mesh "default" in mTLS backend "ca-1". Please remove the reference from the "ca-1" backend before removing the secret.',
    });
  });

  it('refuses a mesh with data planes, then takes it with what it owns, and leaves what a user put', async () => {
    await test.ok('PUT', '/meshes/gone', builtinMesh('gone'));
    await test.ok('PUT', '/meshes/gone/secrets/mine', { type: 'Secret', mesh: 'gone', name: 'mine', data: 'AA==' });
    await test.ok('PUT', '/meshes/gone/dataplanes/dp', dataplane('gone', 'dp', { 'kuma.io/service': 'a' }));
    const refused = await test.request('DELETE', '/meshes/gone');
    expect(refused.json.invalid_parameters?.[0]).toEqual({
      field: 'mesh',
      reason: 'unable to delete mesh, there are still some dataplanes attached',
    });
    await test.ok('DELETE', '/meshes/gone/dataplanes/dp');
    const deleted = await test.request('DELETE', '/meshes/gone');
    expect([deleted.status, deleted.text]).toEqual([200, '{}']);
    await test.ok('PUT', '/meshes/gone', { type: 'Mesh', name: 'gone' });
    const { json } = await test.ok('GET', '/meshes/gone/secrets');
    expect([json.total, json.items?.[0]?.name]).toEqual([1, 'mine']);
  });

  it('removes a secret that has outlived its mesh', async () => {
    await test.ok('PUT', '/meshes/brief', { type: 'Mesh', name: 'brief' });
    await test.ok('PUT', '/meshes/brief/secrets/left', { type: 'Secret', mesh: 'brief', name: 'left', data: 'AA==' });
    await test.ok('DELETE', '/meshes/brief');
    expect((await test.request('DELETE', '/meshes/brief/secrets/left')).status).toBe(200);
    const gone = await test.request('DELETE', '/meshes/brief/secrets/left');
    expect([gone.status, gone.json.title]).toEqual([404, 'Failed to retrieve Mesh']);
  });

  it('of what is not there is 404', async () => {
    const { status, json } = await test.request('DELETE', '/meshes/default/dataplanes/none');
    expect([status, json.title, json.detail]).toEqual([404, 'Could not delete a resource', 'Not found']);
  });
});

function quoted(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
