import { describe, expect, it } from 'vitest';
import { type Dataplane, dataplaneToJson, parseDataplane, tagsOf, withZoneTag } from '../../src/mesh/dataplane.ts';
import { formatTags } from '../../src/mesh/tags.ts';
import { violationsOf } from './violations-of.ts';

const key = { mesh: 'default', name: 'dp-1' };
const service = { 'kuma.io/service': 'web' };

function parse(networking: unknown, others: Record<string, unknown> = {}): Dataplane {
  return parseDataplane({ type: 'Dataplane', ...key, networking, ...others }, key);
}

const withInbound = (inbound: Record<string, unknown>) => ({ address: '10.0.0.1', inbound: [inbound] });

describe('a Dataplane', () => {
  it('is read, and written as Kuma answers it', () => {
    const networking = {
      address: '192.168.0.1',
      advertisedAddress: '10.0.0.9',
      inbound: [
        { port: 8080, servicePort: 80, tags: { ...service, version: '1' }, health: { ready: true } },
        { port: 8081, tags: { 'kuma.io/service': 'web-api' } },
      ],
      outbound: [{ port: 3333, tags: { 'kuma.io/service': 'redis' } }],
      transparentProxying: { redirectPortInbound: 15006 },
      admin: { port: 9901 },
    };
    const dataplane = parse(networking, {
      labels: { a: 'b' },
      probes: { port: 9000 },
      metrics: { type: 'prometheus' },
      foo: 1,
    });
    expect(dataplaneToJson(dataplane)).toEqual({
      labels: { a: 'b' },
      networking,
      probes: { port: 9000 },
      metrics: { type: 'prometheus' },
    });
    expect(formatTags(tagsOf(dataplane))).toBe('kuma.io/service=web,web-api version=1');
    expect(parseDataplane(dataplaneToJson(dataplane), key)).toEqual(dataplane);
  });

  it('may write its port as a text, as protobuf does', () => {
    const dataplane = parse(withInbound({ port: '8080', servicePort: '80', tags: service }));
    expect(dataplane.networking.inbound[0]).toMatchObject({ port: 8080, servicePort: 80 });
    expect(dataplaneToJson(dataplane)).toEqual({
      networking: withInbound({ port: 8080, servicePort: 80, tags: service }),
    });
  });

  it.each<[string, Record<string, unknown>, Record<string, unknown>]>([
    ['delegated', { tags: service }, { tags: service }],
    ['DELEGATED', { type: 'DELEGATED', tags: service }, { tags: service }],
    ['0', { type: 0, tags: service }, { tags: service }],
    ['BUILTIN', { type: 'BUILTIN', tags: service }, { type: 'BUILTIN', tags: service }],
    ['1', { type: 1, tags: service }, { type: 'BUILTIN', tags: service }],
  ])('may be a gateway: %s', (_, gateway, json) => {
    const dataplane = parse({ address: '10.0.0.1', gateway });
    expect(formatTags(tagsOf(dataplane))).toBe('kuma.io/service=web');
    expect(dataplaneToJson(dataplane)).toEqual({ networking: { address: '10.0.0.1', gateway: json } });
  });

  it.each(['10.0.0.1', 'fd00::1', 'web.internal', 'web_1', 'localhost'])('may have the address %s', (address) => {
    expect(parse({ ...withInbound({ port: 1, tags: service }), address }).networking.address).toBe(address);
  });

  it('takes its service from the label kuma.io/workload where no tag names one', () => {
    const labels = { 'kuma.io/workload': 'web' };
    expect(formatTags(tagsOf(parse(withInbound({ port: 80 }), { labels })))).toBe('kuma.io/service=web');
    expect(formatTags(tagsOf(parse(withInbound({ port: 80, tags: { version: '1' } }), { labels })))).toBe(
      'kuma.io/service=web version=1',
    );
    expect(formatTags(tagsOf(parse(withInbound({ port: 80, tags: { 'kuma.io/service': 'api' } }), { labels })))).toBe(
      'kuma.io/service=api',
    );
    expect(tagsOf(parse(withInbound({ port: 80 }))).size).toBe(0);
  });

  it('gets the tag of its zone, without a change of what was given', () => {
    const before = parse({ ...withInbound({ port: 80, tags: { ...service, 'kuma.io/zone': 'old' } }) });
    const after = withZoneTag(before, 'zone-1');
    expect(formatTags(tagsOf(after))).toBe('kuma.io/service=web kuma.io/zone=zone-1');
    expect(formatTags(tagsOf(before))).toBe('kuma.io/service=web kuma.io/zone=old');
    const gateway = withZoneTag(parse({ address: '10.0.0.1', gateway: { tags: service } }), 'zone-1');
    expect(formatTags(tagsOf(gateway))).toBe('kuma.io/service=web kuma.io/zone=zone-1');
  });

  it('that was accepted without tags is accepted again with the tag of its zone', () => {
    const tagless = withZoneTag(parse(withInbound({ port: 80 })), 'zone-1');
    expect(parseDataplane(dataplaneToJson(tagless), key)).toEqual(tagless);
  });
});

const NAME = 'tag name must consist of alphanumeric characters, dots, dashes, slashes and underscores';
const VALUE = 'tag value must consist of alphanumeric characters, dots, dashes and underscores';
const PORT = 'port must be in the range [1, 65535]';
const in0 = 'networking.inbound[0]';

describe('the rules of a Dataplane', () => {
  it.each<[string, unknown, string[]]>([
    ['no networking', undefined, ['networking: must be defined']],
    ['null for networking', null, ['networking: must be defined']],
    [
      'nothing in networking',
      {},
      [
        'networking: has to contain at least one inbound interface or gateway',
        "networking.address: address can't be empty",
      ],
    ],
    ['no address', { inbound: [{ port: 80, tags: service }] }, ["networking.address: address can't be empty"]],
    [
      'any address',
      { ...withInbound({ port: 80, tags: service }), address: '0.0.0.0' },
      ['networking.address: must not be 0.0.0.0 or ::'],
    ],
    [
      'a bad address',
      { ...withInbound({ port: 80, tags: service }), address: '..>_<..' },
      ['networking.address: address has to be valid IP address or domain name'],
    ],
    ['no port', withInbound({ tags: service }), [`${in0}.port: ${PORT}`]],
    ['port 0', withInbound({ port: 0, tags: service }), [`${in0}.port: ${PORT}`]],
    ['port 65536', withInbound({ port: 65536, tags: service }), [`${in0}.port: ${PORT}`]],
    ['a negative port', withInbound({ port: -1, tags: service }), [`${in0}.port: ${PORT}`]],
    ['half a port', withInbound({ port: 80.5, tags: service }), [`${in0}.port: ${PORT}`]],
    [
      'a port in words',
      withInbound({ port: 'http', tags: service }),
      [`${in0}.port: has to be a number, got a string`],
    ],
    ['a service port', withInbound({ port: 80, servicePort: 70000, tags: service }), [`${in0}.servicePort: ${PORT}`]],
    [
      'a service address in words',
      withInbound({ port: 80, serviceAddress: 'x', tags: service }),
      [`${in0}.serviceAddress: serviceAddress has to be valid IP address`],
    ],
    [
      'a loop',
      withInbound({ port: 80, serviceAddress: '10.0.0.1', tags: service }),
      [`${in0}.serviceAddress: serviceAddress and servicePort has to differ from address and port`],
    ],
    [
      'an inbound address in words',
      withInbound({ port: 80, address: 'x', tags: service }),
      [`${in0}.address: address has to be valid IP address`],
    ],
    [
      'tags without a service',
      withInbound({ port: 80, tags: { version: '1' } }),
      [`${in0}.tags["kuma.io/service"]: tag has to exist`],
    ],
    [
      'an unknown protocol',
      withInbound({ port: 80, tags: { ...service, 'kuma.io/protocol': 'x' } }),
      [
        `${in0}.tags["kuma.io/protocol"]: tag "kuma.io/protocol" has an invalid value "x". Allowed values: grpc, http, http2, kafka, tcp`,
      ],
    ],
    [
      'an empty value',
      withInbound({ port: 80, tags: { ...service, version: '' } }),
      [`${in0}.tags["version"]: tag value must be non-empty`],
    ],
    ['a bad tag name', withInbound({ port: 80, tags: { ...service, 'a b': 'x' } }), [`${in0}.tags["a b"]: ${NAME}`]],
    ['a bad tag value', withInbound({ port: 80, tags: { ...service, a: 'x@y' } }), [`${in0}.tags["a"]: ${VALUE}`]],
    [
      'a number for a tag',
      withInbound({ port: 80, tags: { ...service, version: 1 } }),
      [`${in0}.tags["version"]: has to be a string, got a number; put it in quotes`],
    ],
    [
      'inbound as an object',
      { address: '10.0.0.1', inbound: {} },
      ['networking.inbound: has to be a list, got an object'],
    ],
    [
      'an outbound without service',
      { ...withInbound({ port: 80, tags: service }), outbound: [{ port: 90 }] },
      ['networking.outbound[0].tags: mandatory tag "kuma.io/service" is missing'],
    ],
    [
      'an outbound without port',
      { ...withInbound({ port: 80, tags: service }), outbound: [{ tags: service, address: 'x' }] },
      [`networking.outbound[0].port: ${PORT}`, 'networking.outbound[0].address: address has to be valid IP address'],
    ],
    [
      'a gateway with inbounds',
      { ...withInbound({ port: 80, tags: service }), gateway: { tags: service } },
      ['networking.inbound: inbound cannot be defined for delegated gateways'],
    ],
    [
      'a gateway without service',
      { address: '10.0.0.1', gateway: { tags: { version: '1' } } },
      ['networking.gateway.tags: mandatory tag "kuma.io/service" is missing'],
    ],
    [
      'a gateway of another protocol',
      { address: '10.0.0.1', gateway: { tags: { ...service, 'kuma.io/protocol': 'http' } } },
      ['networking.gateway.tags["kuma.io/protocol"]: other values than tcp are not allowed, provided value "http"'],
    ],
    [
      'a gateway of an unknown type',
      { address: '10.0.0.1', gateway: { type: 'X', tags: service } },
      ['networking.gateway.type: has to be one of DELEGATED, BUILTIN'],
    ],
    [
      'a built-in gateway with outbounds',
      { address: '10.0.0.1', gateway: { type: 'BUILTIN', tags: service }, outbound: [{ port: 1, tags: service }] },
      ['networking.outbound: outbound cannot be defined for builtin gateways'],
    ],
  ])('refuse %s', (_, networking, violations) => {
    expect(violationsOf(() => parse(networking))).toEqual(violations);
  });

  it.each<[string, Record<string, unknown>]>([
    [
      'a service address that differs by port',
      { port: 80, serviceAddress: '10.0.0.1', servicePort: 81, tags: service },
    ],
    ['a protocol in capitals', { port: 80, tags: { ...service, 'kuma.io/protocol': 'HTTP' } }],
    ['no tags at all', { port: 80 }],
  ])('allow %s', (_, inbound) => {
    expect(parse(withInbound(inbound)).networking.inbound).toHaveLength(1);
  });

  it('allow outbounds by backendRef and by service', () => {
    const outbound = [
      { port: 1, backendRef: { kind: 'MeshService', name: 'x' } },
      { port: 2, service: 'redis' },
    ];
    expect(dataplaneToJson(parse({ ...withInbound({ port: 80, tags: service }), outbound }))).toMatchObject({
      networking: { outbound },
    });
  });

  it('tell mistakes of form and of content at once', () => {
    const networking = {
      address: 5,
      inbound: [
        { port: 'x', tags: service },
        { port: 70000, tags: { a: 'b c' } },
      ],
    };
    expect(violationsOf(() => parse(networking))).toEqual([
      'networking.address: has to be a string, got a number; put it in quotes',
      `${in0}.port: has to be a number, got a string`,
      `networking.inbound[1].port: ${PORT}`,
      `networking.inbound[1].tags["a"]: ${VALUE}`,
      'networking.inbound[1].tags["kuma.io/service"]: tag has to exist',
    ]);
  });

  it('limit tags over all inbounds', () => {
    const tags = Object.fromEntries(Array.from({ length: 10_000 }, (_, index) => [`t${index}`, 'x']));
    expect(violationsOf(() => parse(withInbound({ port: 80, tags: { ...service, ...tags } })))).toEqual([
      `${in0}.tags: cannot have more than 256 tags, got 10001`,
    ]);
    const inbound = Array.from({ length: 65 }, (_, index) => ({
      port: index + 1,
      tags: { 'kuma.io/service': `s${index}` },
    }));
    expect(violationsOf(() => parse({ address: '10.0.0.1', inbound }))).toEqual([
      'networking.tags["kuma.io/service"]: cannot have more than 64 values, got 65',
    ]);
  });
});
