import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { module } from '../../adapters/vault/module.ts';
import { ConfigError } from '../../src/issuer/errors.ts';
import { CONTEXT } from '../fakes/vault-backend.ts';

const GOOD = {
  address: 'https://vault.example:8200',
  pki: 'kmesh-pki-default',
  role: 'dataplane-proxies',
  auth: { token: { secret: 'vault-token' } },
};

function violationsOf(fromCp: unknown): Record<string, string> {
  return violationsOfConf({ fromCp });
}

function violationsOfConf(conf: unknown): Record<string, string> {
  try {
    module.parseConf(conf, CONTEXT);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return Object.fromEntries(error.violations.map(({ field, message }) => [field, message]));
  }
  return {};
}

const pathRule = expect.stringContaining('may hold letters');
const addressRule = expect.stringContaining('http or https URL');
const noToken = expect.stringContaining('exactly one of token, tls, aws');

const BAD: readonly [string, unknown, Record<string, unknown>][] = [
  ['no fromCp', undefined, { fromCp: 'has to be defined' }],
  ['fromCp is a text', 'vault', { fromCp: 'has to be an object, got a string' }],
  ['no address', { ...GOOD, address: undefined }, { 'fromCp.address': 'has to be defined' }],
  ["the documentation's sample address", { ...GOOD, address: 'https://vault.8200' }, { 'fromCp.address': addressRule }],
  ['an address without scheme', { ...GOOD, address: 'vault:8200' }, { 'fromCp.address': addressRule }],
  ['an address of another scheme', { ...GOOD, address: 'unix:///run/vault' }, { 'fromCp.address': addressRule }],
  ['an address with a password', { ...GOOD, address: 'https://u:p@vault' }, { 'fromCp.address': addressRule }],
  ['an address with a query', { ...GOOD, address: 'https://vault?x=1' }, { 'fromCp.address': addressRule }],
  ['no mount', { ...GOOD, pki: undefined }, { 'fromCp.pki': 'has to be defined' }],
  ['a mount that climbs', { ...GOOD, pki: 'kmesh/../sys' }, { 'fromCp.pki': pathRule }],
  ['a mount with a line end', { ...GOOD, pki: 'kmesh\r\nX-Vault-Token: a' }, { 'fromCp.pki': pathRule }],
  ['a mount with an escape', { ...GOOD, pki: 'kmesh%2f..' }, { 'fromCp.pki': pathRule }],
  ['an empty mount', { ...GOOD, pki: '/' }, { 'fromCp.pki': pathRule }],
  ['no role', { ...GOOD, role: undefined }, { 'fromCp.role': 'has to be defined' }],
  ['a role of two parts', { ...GOOD, role: 'a/b' }, { 'fromCp.role': pathRule }],
  ['a role that climbs', { ...GOOD, role: '..' }, { 'fromCp.role': pathRule }],
  ['a number as role', { ...GOOD, role: 1 }, { 'fromCp.role': 'has to be a string, got a number; put it in quotes' }],
  ['a namespace with a line end', { ...GOOD, namespace: 'a\nb' }, { 'fromCp.namespace': expect.anything() }],
  [
    'a bad template',
    { ...GOOD, commonName: '{{ tag }' },
    { 'fromCp.commonName': expect.stringContaining('commonName') },
  ],
  ['no auth', { ...GOOD, auth: undefined }, { 'fromCp.auth': 'has to be defined' }],
  ['an empty auth', { ...GOOD, auth: {} }, { 'fromCp.auth': noToken }],
  ['two auth methods', { ...GOOD, auth: { token: { secret: 'a' }, aws: {} } }, { 'fromCp.auth': noToken }],
  [
    'auth by certificate',
    { ...GOOD, auth: { tls: {} } },
    { 'fromCp.auth.tls': 'is not available in this version: use token' },
  ],
  ['auth by AWS', { ...GOOD, auth: { aws: {} } }, { 'fromCp.auth.aws': 'is not available in this version: use token' }],
  [
    'a token with two sources',
    { ...GOOD, auth: { token: { secret: 'a', file: '/b' } } },
    { 'fromCp.auth.token': expect.stringContaining('only one data source') },
  ],
  [
    'a token that is not base64',
    { ...GOOD, auth: { token: { inline: 'not base64!' } } },
    { 'fromCp.auth.token.inline': expect.stringContaining('base64') },
  ],
  [
    'a CA without source',
    { ...GOOD, tls: { caCert: {} } },
    { 'fromCp.tls.caCert': expect.stringContaining('data source') },
  ],
  [
    'a text as flag',
    { ...GOOD, tls: { skipVerify: 'yes' } },
    { 'fromCp.tls.skipVerify': expect.stringContaining('true or false') },
  ],
  [
    'a bad server name',
    { ...GOOD, tls: { serverName: 'a b' } },
    { 'fromCp.tls.serverName': expect.stringContaining('host name') },
  ],
];

describe('the conf of a vault backend', () => {
  it.each(BAD)('refuses %s, naming the field', (_name, fromCp, expected) => {
    expect(violationsOf(fromCp)).toEqual(expected);
  });

  it('refuses a missing conf, too', () => {
    expect(Object.keys(violationsOfConf(undefined))).toEqual(['']);
  });

  it('tells all mistakes at once', () => {
    const found = violationsOf({
      address: 'x',
      agentAddress: 'y',
      namespace: '..',
      role: '/',
      tls: { caCert: {} },
      auth: {},
    });
    expect(Object.keys(found).sort()).toEqual(
      ['address', 'agentAddress', 'auth', 'namespace', 'pki', 'role', 'tls.caCert'].map((field) => `fromCp.${field}`),
    );
  });

  it('accepts the least that is documented, and knows the secrets it uses', () => {
    const conf = module.parseConf({ fromCp: GOOD }, CONTEXT);
    expect(conf).toMatchObject({ endpoint: 'https://vault.example:8200', namespace: '', commonName: undefined });
    expect(module.usedSecrets(conf, CONTEXT)).toEqual(['vault-token']);
  });

  it('accepts everything that is documented; the agent takes the place of the server', () => {
    const conf = module.parseConf(
      {
        fromCp: {
          ...GOOD,
          agentAddress: 'http://127.0.0.1:8100/',
          namespace: '/admin/team/',
          pki: '/pki/kmesh/',
          commonName: '{{ tag "kuma.io/service" | replace "_" "-" }}.mesh',
          tls: { caCert: { secret: 'vault-ca' }, skipVerify: false, serverName: 'vault.example' },
        },
      },
      CONTEXT,
    );
    expect(conf).toMatchObject({
      endpoint: 'http://127.0.0.1:8100',
      endpointField: 'fromCp.agentAddress',
      namespace: 'admin/team',
      pki: 'pki/kmesh',
      tls: { serverName: 'vault.example' },
    });
    expect(module.usedSecrets(conf, CONTEXT)).toEqual(['vault-token', 'vault-ca']);
  });

  it('takes empty and null fields for absent ones, as Kuma does', () => {
    const empty = { agentAddress: '', namespace: '', commonName: '', tls: { caCert: null, serverName: '' } };
    expect(violationsOf({ ...GOOD, ...empty, auth: { ...GOOD.auth, aws: null, tls: null } })).toEqual({});
  });

  it('never lets a name leave its place in the path', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 40 }), (name) => {
        const found = violationsOf({ ...GOOD, pki: name, role: name });
        if (found['fromCp.role'] === undefined) expect(name).toMatch(/^[A-Za-z0-9_.-]+$/);
        if (found['fromCp.pki'] === undefined) {
          const { pathname } = new URL(`http://vault/v1/${name.replace(/^\/+|\/+$/g, '')}/sign/x`);
          expect(pathname).toBe(`/v1/${name.replace(/^\/+|\/+$/g, '')}/sign/x`);
        }
      }),
    );
  });

  it('throws nothing but a ConfigError, whatever it is given', () => {
    fc.assert(fc.property(fc.anything(), (conf) => void violationsOfConf({ fromCp: conf })));
  });
});
