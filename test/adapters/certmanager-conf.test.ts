import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { renderDnsNames } from '../../adapters/certmanager/dns-names.ts';
import { module } from '../../adapters/certmanager/module.ts';
import { RequestInvalidError } from '../../src/issuer/errors.ts';
import { violationsByField } from '../support/violations-by-field.ts';

const CONTEXT = { mesh: 'default', backend: 'ca-1' };
const REF = { name: 'mesh-ca-issuer' };

function violationsOf(conf: unknown): Record<string, string> {
  return violationsByField(() => module.parseConf(conf, CONTEXT));
}

const nameRule = expect.stringContaining('RFC 1123 subdomain');
const kindRule = expect.stringContaining('kind of a resource');
const templateRule = expect.stringContaining('column');

const BAD: readonly [string, unknown, Record<string, unknown>][] = [
  ['no conf', undefined, { '': 'has to be defined' }],
  ['a text', 'cert-manager', { '': 'has to be an object, got a string' }],
  ['no issuerRef', {}, { issuerRef: 'has to be defined' }],
  ['a text as issuerRef', { issuerRef: 'a' }, { issuerRef: 'has to be an object, got a string' }],
  ['no name', { issuerRef: {} }, { 'issuerRef.name': 'has to be defined' }],
  ['an empty name', { issuerRef: { name: '' } }, { 'issuerRef.name': nameRule }],
  ['a name in capitals', { issuerRef: { name: 'My-Issuer' } }, { 'issuerRef.name': nameRule }],
  ['a name with a line end', { issuerRef: { name: 'a\r\nb' } }, { 'issuerRef.name': nameRule }],
  ['a name that ends in a line end', { issuerRef: { name: 'a\n' } }, { 'issuerRef.name': nameRule }],
  ['a name that climbs', { issuerRef: { name: '../a' } }, { 'issuerRef.name': nameRule }],
  ['a long name', { issuerRef: { name: 'a'.repeat(254) } }, { 'issuerRef.name': expect.stringContaining('253') }],
  ['a number as name', { issuerRef: { name: 1 } }, { 'issuerRef.name': expect.stringContaining('put it in quotes') }],
  ['a kind with a blank', { issuerRef: { ...REF, kind: 'My Issuer' } }, { 'issuerRef.kind': kindRule }],
  ['a group with a line end', { issuerRef: { ...REF, group: 'a\nb' } }, { 'issuerRef.group': nameRule }],
  ['a bad template', { issuerRef: REF, commonName: '{{ tag }}' }, { commonName: templateRule }],
  ['a text as dnsNames', { issuerRef: REF, dnsNames: 'a' }, { dnsNames: 'has to be a list, got a string' }],
  [
    'an empty DNS name',
    { issuerRef: REF, dnsNames: ['a', ''] },
    { 'dnsNames[1]': expect.stringContaining('is empty') },
  ],
  [
    'a DNS name without a tag that is none',
    { issuerRef: REF, dnsNames: ['{{ tag "a" }}', 'web_1.mesh', '-web', '*.mesh'] },
    { 'dnsNames[1]': 'is no DNS name', 'dnsNames[2]': 'is no DNS name' },
  ],
  ['65 DNS names', { issuerRef: REF, dnsNames: Array(65).fill('a') }, { dnsNames: 'cannot have more than 64 items' }],
  ['a caCert of no form', { issuerRef: REF, caCert: {} }, { caCert: expect.stringContaining('has to be chosen') }],
  ['an empty secret', { issuerRef: REF, caCert: { secret: '' } }, { 'caCert.secret': 'cannot be empty' }],
  [
    'the name that caCert had once',
    { issuerRef: REF, ca: { secret: 'root' } },
    { ca: 'is called caCert since Kong Mesh 2.2: rename it' },
  ],
  [
    'everything wrong at once',
    { issuerRef: { name: 'A', kind: '-', group: '.' }, commonName: '{{', dnsNames: [1], caCert: 'x', ca: {} },
    {
      'issuerRef.name': nameRule,
      'issuerRef.kind': kindRule,
      'issuerRef.group': nameRule,
      commonName: expect.anything(),
      'dnsNames[0]': expect.anything(),
      caCert: expect.anything(),
      ca: expect.anything(),
    },
  ],
];

describe('the conf of a certmanager backend', () => {
  it('needs no more than the name of the issuer', () => {
    expect(module.parseConf({ issuerRef: REF, unknown: 1 }, CONTEXT)).toEqual({
      issuerRef: { name: 'mesh-ca-issuer', kind: 'Issuer', group: 'cert-manager.io' },
      commonName: undefined,
      dnsNames: [],
      caCert: undefined,
    });
  });

  it('takes empty and null for left out, as protobuf does', () => {
    const conf = {
      issuerRef: { ...REF, kind: '', group: null },
      commonName: '',
      dnsNames: null,
      caCert: null,
      ca: null,
    };
    expect(module.parseConf(conf, CONTEXT)).toEqual(module.parseConf({ issuerRef: REF }, CONTEXT));
  });

  it('names the secret that it reads', () => {
    const conf = module.parseConf({ issuerRef: REF, caCert: { secret: 'root-ca' } }, CONTEXT);
    expect(module.usedSecrets(conf, CONTEXT)).toEqual(['root-ca']);
  });

  it.each(BAD)('refuses %s', (_name, conf, expected) => {
    expect(violationsOf(conf)).toEqual(expected);
  });

  it('gives a checked conf or a ConfigError for any JSON', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (a, b) => {
        for (const conf of [a, { issuerRef: a, dnsNames: b, caCert: a, commonName: b }]) violationsOf(conf);
      }),
      { numRuns: 300 },
    );
  });
});

describe('DNS names of a data plane', () => {
  const { dnsNames } = module.parseConf(
    {
      issuerRef: REF,
      dnsNames: ['{{ tag "kuma.io/service" | replace "_" "-" }}.mesh', 'web-api.mesh', '*.example.com'],
    },
    CONTEXT,
  );
  const who = (service: string) => ({
    mesh: 'default',
    dataplane: 'web-1',
    tags: new Map([['kuma.io/service', [service]]]),
  });

  it('come from templates, each name once', () => {
    expect(renderDnsNames(dnsNames, who('web_api'))).toEqual(['web-api.mesh', '*.example.com']);
  });

  it.each(['a b', 'a..b', '-a', 'a/b', 'ä'])('are refused when a tag %j makes none', (service) => {
    expect(() => renderDnsNames(dnsNames, who(service))).toThrow(RequestInvalidError);
    expect(() => renderDnsNames(dnsNames, who(service))).toThrow('dataplane "web-1": dnsNames[0]');
  });
});
