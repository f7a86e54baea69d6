import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/issuer/errors.ts';
import { meshToJson, parseMesh } from '../../src/mesh/mesh.ts';
import {
  dpCertRequestTimeoutMs,
  enabledBackendOf,
  expirationMs,
  rootChainRequestTimeoutMs,
} from '../../src/mesh/mtls.ts';
import { errorOf, violationsOf } from './violations-of.ts';

const key = { name: 'default' };
const builtin = { name: 'ca-1', type: 'builtin' };

/** The JSON of a Mesh with these backends as it is answered. */
function roundTrip(backend: Record<string, unknown>): unknown {
  const json = meshToJson(parseMesh({ mtls: { backends: [backend] } }, key));
  expect(meshToJson(parseMesh(JSON.parse(JSON.stringify(json)), key))).toEqual(json);
  return json.mtls;
}

describe('a Mesh', () => {
  it('is read with all that mTLS needs', () => {
    const mesh = parseMesh(
      {
        type: 'Mesh',
        name: 'default',
        mtls: {
          enabledBackend: 'ca-1',
          backends: [
            { ...builtin, mode: 'PERMISSIVE', dpCert: { rotation: { expiration: '1d' }, requestTimeout: '5s' } },
            { name: 'ca-2', type: 'acmpca', conf: { arn: 'arn:aws:x' }, rootChain: { requestTimeout: '0.5s' } },
          ],
        },
      },
      key,
    );
    expect(mesh).toMatchObject({
      type: 'Mesh',
      name: 'default',
      mtls: { enabledBackend: 'ca-1', skipValidation: false },
    });
    const [first, second] = mesh.mtls?.backends ?? [];
    expect(first).toMatchObject({ name: 'ca-1', type: 'builtin', mode: 'PERMISSIVE' });
    expect(second).toMatchObject({ name: 'ca-2', type: 'acmpca', mode: 'STRICT', conf: { arn: 'arn:aws:x' } });
    expect(enabledBackendOf(mesh.mtls)).toBe(first);
    expect(first && [expirationMs(first), dpCertRequestTimeoutMs(first), rootChainRequestTimeoutMs(first)]).toEqual([
      86_400_000, 5000, 10_000,
    ]);
    expect(second && [expirationMs(second), dpCertRequestTimeoutMs(second), rootChainRequestTimeoutMs(second)]).toEqual(
      [undefined, undefined, 500],
    );
  });

  it('has no enabled backend when mTLS is off', () => {
    expect(enabledBackendOf(parseMesh({}, key).mtls)).toBeUndefined();
    expect(enabledBackendOf(parseMesh({ mtls: { backends: [builtin] } }, key).mtls)).toBeUndefined();
  });

  it('keeps what other parts of Kuma need, and drops what Kuma does not know', () => {
    const kept = {
      labels: { team: 'a' },
      tracing: { defaultBackend: 'z', backends: [{ name: 'z', sampling: 10 }] },
      logging: {},
      metrics: { enabledBackend: 'p' },
      networking: { outbound: { passthrough: false } },
      routing: { localityAwareLoadBalancing: true },
      constraints: { dataplaneProxy: { requirements: [{ tags: { 'kuma.io/service': '*' } }] } },
      skipCreatingInitialPolicies: ['*'],
      meshServices: { mode: 'Exclusive' },
    };
    expect(meshToJson(parseMesh({ ...kept, foo: 1, spec: {} }, key))).toEqual(kept);
  });

  it('may have more than one backend, and up to 64', () => {
    const backends = Array.from({ length: 65 }, (_, index) => ({ name: `b${index}`, type: 'builtin' }));
    expect(parseMesh({ mtls: { backends: backends.slice(0, 64) } }, key).mtls?.backends).toHaveLength(64);
    expect(violationsOf(() => parseMesh({ mtls: { backends } }, key))).toEqual([
      'mtls.backends: cannot have more than 64 items',
    ]);
  });
});

describe('the JSON of a Mesh', () => {
  it('leaves out what is not set, as protobuf does', () => {
    expect(meshToJson(parseMesh({}, key))).toEqual({});
    expect(meshToJson(parseMesh({ mtls: null, routing: null, skipCreatingInitialPolicies: [] }, key))).toEqual({});
    expect(meshToJson(parseMesh({ mtls: { enabledBackend: '', backends: [], skipValidation: false } }, key))).toEqual({
      mtls: {},
    });
  });

  it.each<[string, Record<string, unknown>, Record<string, unknown>]>([
    ['STRICT is the default', { ...builtin, mode: 'STRICT' }, builtin],
    ['STRICT as a number', { ...builtin, mode: 0 }, builtin],
    ['PERMISSIVE as a number', { ...builtin, mode: 1 }, { ...builtin, mode: 'PERMISSIVE' }],
    ['null is not set', { ...builtin, mode: null, dpCert: null, rootChain: null, conf: null, config: null }, builtin],
    ['an empty conf stays', { ...builtin, conf: {} }, { ...builtin, conf: {} }],
    ['an empty rootChain stays', { ...builtin, rootChain: {} }, { ...builtin, rootChain: {} }],
    [
      'durations get their canonical form',
      { ...builtin, dpCert: { rotation: { expiration: '10y' }, requestTimeout: { seconds: 1, nanos: 5e8 } } },
      { ...builtin, dpCert: { rotation: { expiration: '10y' }, requestTimeout: '1.500s' } },
    ],
    ['names that Kuma allows', { name: '-ca', type: '' }, { name: '-ca' }],
    [
      'unknown fields go',
      { ...builtin, foo: 1, dpCert: { rotation: { expiration: '1d', foo: 1 } } },
      { ...builtin, dpCert: { rotation: { expiration: '1d' } } },
    ],
  ])('%s', (_, backend, json) => {
    expect(roundTrip(backend)).toEqual({ backends: [json] });
  });

  it('keeps skipValidation when it is true', () => {
    expect(meshToJson(parseMesh({ mtls: { skipValidation: true } }, key))).toEqual({ mtls: { skipValidation: true } });
  });
});

describe('the static rules of a Mesh', () => {
  const expiration = 'mtls.dpcert.rotation.expiration: has to be a valid format';

  it.each<[string, unknown, string[]]>([
    [
      'two backends of one name',
      { mtls: { backends: [builtin, builtin, builtin] } },
      [1, 2].map((index) => `mtls.backends[${index}].name: "ca-1" name is already used for another backend`),
    ],
    [
      'an unknown enabled backend',
      { mtls: { enabledBackend: 'x', backends: [builtin] } },
      ['mtls.enabledBackend: has to be set to one of the backends in the mesh'],
    ],
    [
      'a bad expiration',
      { mtls: { backends: [{ ...builtin, dpCert: { rotation: { expiration: '1h30m' } } }] } },
      [expiration],
    ],
    [
      'an empty expiration',
      { mtls: { backends: [{ ...builtin, dpCert: { rotation: { expiration: '' } } }] } },
      [expiration],
    ],
    ['an empty rotation', { mtls: { backends: [{ ...builtin, dpCert: { rotation: {} } }] } }, [expiration]],
    ['an empty dpCert', { mtls: { backends: [{ ...builtin, dpCert: {} }] } }, [expiration]],
    [
      'a dpCert with a time-out only',
      { mtls: { backends: [{ ...builtin, dpCert: { requestTimeout: '1s' } }] } },
      [expiration],
    ],
    ['zone egress without mtls', { routing: { zoneEgress: true } }, ['mtls: has to be set when zoneEgress enabled']],
    [
      'zone egress with mTLS off',
      { routing: { zoneEgress: true }, mtls: { backends: [builtin] } },
      ['mtls: has to be set when zoneEgress enabled'],
    ],
    [
      'several of them, in the order of Kuma',
      {
        mtls: { enabledBackend: 'x', backends: [{ ...builtin, dpCert: {} }, builtin, { name: 'ca-2', dpCert: {} }] },
        routing: { zoneEgress: true },
      },
      [
        'mtls.backends[1].name: "ca-1" name is already used for another backend',
        expiration,
        expiration,
        'mtls.enabledBackend: has to be set to one of the backends in the mesh',
      ],
    ],
  ])('refuse %s', (_, mesh, violations) => {
    expect(violationsOf(() => parseMesh(mesh, key))).toEqual(violations);
  });

  it.each<[string, unknown]>([
    ['expiration 0', { mtls: { backends: [{ ...builtin, dpCert: { rotation: { expiration: '0' } } }] } }],
    ['an unknown type', { mtls: { enabledBackend: 'x', backends: [{ name: 'x', type: 'no-such-type' }] } }],
    ['the alias acm', { mtls: { backends: [{ name: 'x', type: 'acm' }] } }],
    ['zone egress with mTLS', { routing: { zoneEgress: true }, mtls: { enabledBackend: 'ca-1', backends: [builtin] } }],
  ])('allow %s', (_, mesh) => {
    expect(parseMesh(mesh, key).type).toBe('Mesh');
  });
});

describe('a Mesh of the wrong form', () => {
  it.each<[string, unknown, string[]]>([
    ['a list', [], [': has to be an object, got a list']],
    ['a text', 'mesh', [': has to be an object, got a string']],
    ['mtls as a number', { mtls: 5 }, ['mtls: has to be an object, got a number']],
    ['backends as an object', { mtls: { backends: {} } }, ['mtls.backends: has to be a list, got an object']],
    ['a backend as a text', { mtls: { backends: ['ca-1'] } }, ['mtls.backends[0]: has to be an object, got a string']],
    [
      'a name as a number',
      { mtls: { backends: [{ name: 1 }] } },
      ['mtls.backends[0].name: has to be a string, got a number; put it in quotes'],
    ],
    [
      'an unknown mode',
      { mtls: { backends: [{ mode: 'strict' }] } },
      ['mtls.backends[0].mode: has to be one of STRICT, PERMISSIVE'],
    ],
    [
      'a mode out of range',
      { mtls: { backends: [{ mode: 2 }] } },
      ['mtls.backends[0].mode: has to be one of STRICT, PERMISSIVE'],
    ],
    [
      'conf as a list',
      { mtls: { backends: [{ conf: [] }] } },
      ['mtls.backends[0].conf: has to be an object, got a list'],
    ],
    [
      'config for conf',
      { mtls: { backends: [{ ...builtin, config: { cert: {} } }] } },
      ['mtls.backends[0].config: unknown field; the configuration of a backend stands under "conf"'],
    ],
    [
      'a time-out without unit',
      { mtls: { backends: [{ rootChain: { requestTimeout: 10 } }] } },
      ['mtls.backends[0].rootChain.requestTimeout: has to be a duration in seconds such as "10s" or "0.5s"'],
    ],
    [
      'a time-out of nothing',
      { mtls: { backends: [{ rootChain: { requestTimeout: '0s' } }] } },
      ['mtls.backends[0].rootChain.requestTimeout: has to be at least 0.001s'],
    ],
    [
      'skipValidation as a text',
      { mtls: { skipValidation: 'yes' } },
      ['mtls.skipValidation: has to be true or false, got a string'],
    ],
    [
      'a label that is a number',
      { labels: { version: 1 } },
      ['labels["version"]: has to be a string, got a number; put it in quotes'],
    ],
    [
      'a long name',
      { mtls: { enabledBackend: 'a'.repeat(254) } },
      ['mtls.enabledBackend: cannot be longer than 253 characters'],
    ],
    ['routing as a text', { routing: 'x' }, ['routing: has to be an object, got a string']],
    [
      'policies that are numbers',
      { skipCreatingInitialPolicies: [1] },
      ['skipCreatingInitialPolicies[0]: has to be a string, got a number; put it in quotes'],
    ],
  ])('is refused: %s', (_, mesh, violations) => {
    expect(violationsOf(() => parseMesh(mesh, key))).toEqual(violations);
  });

  it('hides no mistake that the rules find elsewhere', () => {
    const mesh = {
      mtls: {
        enabledBackend: 'ca-9',
        backends: [{ ...builtin, mode: 'x', config: {} }, { name: 'ca-2', dpCert: {}, conf: 1 }, 5, builtin],
      },
      routing: { zoneEgress: 'yes' },
    };
    expect(violationsOf(() => parseMesh(mesh, key)).sort()).toEqual([
      'mtls.backends[0].config: unknown field; the configuration of a backend stands under "conf"',
      'mtls.backends[0].mode: has to be one of STRICT, PERMISSIVE',
      'mtls.backends[1].conf: has to be an object, got a number',
      'mtls.backends[2]: has to be an object, got a number',
      'mtls.backends[3].name: "ca-1" name is already used for another backend',
      'mtls.dpcert.rotation.expiration: has to be a valid format',
      'mtls.enabledBackend: has to be set to one of the backends in the mesh',
      'routing.zoneEgress: has to be true or false, got a string',
    ]);
  });

  it('is refused when it is too deep, too large, or plays with prototypes', () => {
    const deep = JSON.parse(`${'{"conf":'.repeat(5000)}1${'}'.repeat(5000)}`);
    expect(violationsOf(() => parseMesh({ tracing: deep }, key))).toEqual([': cannot be nested deeper than 48 levels']);
    expect(violationsOf(() => parseMesh({ tracing: { a: Array(100_001).fill(1) } }, key))).toEqual([
      ': cannot hold more than 100000 values',
    ]);
    expect(violationsOf(() => parseMesh(JSON.parse('{"tracing":{"__proto__":{"x":1}}}'), key))).toEqual([
      ': cannot have a key named "__proto__"',
    ]);
  });

  it('is refused with a ConfigError, whatever it is; what is accepted comes back from its JSON', () => {
    const mtls = fc.record(
      {
        enabledBackend: fc.constantFrom('a', 'b', 5),
        skipValidation: fc.oneof(fc.boolean(), fc.jsonValue()),
        backends: fc.oneof(
          fc.array(
            fc.record(
              { name: fc.constantFrom('a', 'b'), mode: fc.constantFrom(0, 1, 2, 'STRICT'), conf: fc.jsonValue() },
              { requiredKeys: [] },
            ),
          ),
          fc.jsonValue(),
        ),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(
        fc.oneof(fc.jsonValue(), fc.record({ mtls: fc.oneof(mtls, fc.jsonValue()), labels: fc.jsonValue() })),
        (input) => {
          const error = errorOf(() => {
            const json = meshToJson(parseMesh(input, key));
            expect(meshToJson(parseMesh(json, key))).toEqual(json);
          });
          if (error !== undefined) expect(error).toBeInstanceOf(ConfigError);
        },
      ),
    );
  });
});
