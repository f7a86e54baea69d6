import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { checkSources } from '../../adapters/shared/check-sources.ts';
import { dataSources } from '../../adapters/vault/data-sources.ts';
import { module } from '../../adapters/vault/module.ts';
import { live } from '../conformance/issuer.ts';
import { createTestDeps } from '../conformance/issuer-deps.ts';
import { CONTEXT } from '../fakes/vault-backend.ts';
import { findBlocks } from '../support/markdown-blocks.ts';
import { violationsByField } from '../support/violations-by-field.ts';

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
  return violationsByField(() => module.parseConf(conf, CONTEXT));
}

const pathRule = expect.stringContaining('may hold letters');
const addressRule = expect.stringContaining('http or https URL');
const stsRule = 'has to be an http or https URL such as https://sts.eu-west-1.amazonaws.com';
const onlyOne = (got: string) => `exactly one of token, tls, aws, approle, kubernetes, jwt has to be set, got ${got}`;
const wordRule = expect.stringContaining('one word of printable ASCII');
const mountRule = pathRule;
const regionRule = 'has to be an AWS region such as eu-west-1';
const tooDeep = expect.stringContaining('becomes fromCp.auth.aws');

const BAD: readonly [string, unknown, Record<string, unknown>][] = [
  ['no fromCp', undefined, { fromCp: 'has to be defined' }],
  ['fromCp is a text', 'vault', { fromCp: 'has to be an object, got a string' }],
  ['no address', { ...GOOD, address: undefined }, { 'fromCp.address': 'has to be defined' }],
  ["the documentation's sample address", { ...GOOD, address: 'https://vault.8200' }, { 'fromCp.address': addressRule }],
  ['an address without scheme', { ...GOOD, address: 'vault:8200' }, { 'fromCp.address': addressRule }],
  ['an address of another scheme', { ...GOOD, address: 'unix:///run/vault' }, { 'fromCp.address': addressRule }],
  ['an address with a password', { ...GOOD, address: 'https://u:p@vault' }, { 'fromCp.address': addressRule }],
  ['an address with a query', { ...GOOD, address: 'https://vault?x=1' }, { 'fromCp.address': addressRule }],
  [
    'an address with the version of the API',
    { ...GOOD, address: 'https://vault/v1/' },
    { 'fromCp.address': expect.stringContaining('cannot end in /v1') },
  ],
  [
    'an auth method of another name',
    { ...GOOD, auth: { appRole: { roleId: 'x' } } },
    { 'fromCp.auth': onlyOne('none of them but: appRole') },
  ],
  [
    'aws below tls, over http, which is all that is wrong with it',
    { ...GOOD, address: 'http://vault:8200', auth: { tls: { aws: { type: 'IAM' } } } },
    { 'fromCp.auth.tls.aws': tooDeep },
  ],
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
    { 'fromCp.commonName': expect.stringContaining('tag needs a name in quotes') },
  ],
  ['no auth', { ...GOOD, auth: undefined }, { 'fromCp.auth': 'has to be defined' }],
  ['an empty auth', { ...GOOD, auth: {} }, { 'fromCp.auth': onlyOne('none') }],
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

const CERT = { secret: 'client-cert' };
const KEY = { secret: 'client-key' };
const TLS = { clientCert: CERT, clientKey: KEY };
const SECRET_ID = { secret: 'secret-id' };

/** What stands in `fromCp.auth`, and the violations of it, below `fromCp.auth`. */
const BAD_AUTH: readonly [string, unknown, Record<string, unknown>][] = [
  ['a list', [], { '': 'has to be an object, got a list' }],
  ['an unknown method', { userpass: {} }, { '': onlyOne('none of them but: userpass') }],
  ['two methods', { token: { secret: 'a' }, aws: {} }, { '': onlyOne('token, aws') }],
  [
    'two methods with mistakes: all are told',
    { token: { secret: '' }, jwt: { role: 'a/b' } },
    {
      '': onlyOne('token, jwt'),
      token: undefined,
      'token.secret': 'cannot be empty',
      'jwt.role': pathRule,
      'jwt.token': 'has to be defined',
    },
  ],
  [
    'every method of the documentation at once',
    { token: { secret: 'a' }, tls: TLS, aws: {} },
    { '': onlyOne('token, tls, aws') },
  ],
  ['a token that is a text', { token: 'hvs.x' }, { token: 'has to be an object, got a string' }],
  [
    'a secret with a line end in its name',
    { token: { secret: 'a\r\nb' } },
    { 'token.secret': 'cannot hold control characters' },
  ],
  [
    'a file with a line end in its name',
    { token: { file: '/a\nb' } },
    { 'token.file': 'cannot hold control characters' },
  ],
  [
    'tls without certificate and key',
    { tls: {} },
    { 'tls.clientCert': 'has to be defined', 'tls.clientKey': 'has to be defined' },
  ],
  ['tls without a key', { tls: { clientCert: CERT } }, { 'tls.clientKey': 'has to be defined' }],
  ['tls with a mount that climbs', { tls: { ...TLS, mount: '../sys' } }, { 'tls.mount': mountRule }],
  ['tls with a role of two parts', { tls: { ...TLS, role: 'a/b' } }, { 'tls.role': pathRule }],
  ['aws below tls, as the product page indents it', { tls: { aws: {} } }, { 'tls.aws': tooDeep }],
  ['aws below tls beside a certificate', { tls: { ...TLS, aws: {} } }, { 'tls.aws': tooDeep }],
  [
    'the whole sample of the product page',
    { token: { secret: 'a' }, tls: { ...TLS, aws: { type: 'EC2' } } },
    { '': onlyOne('token, tls'), 'tls.aws': tooDeep },
  ],
  ['a text as aws', { aws: 'IAM' }, { aws: 'has to be an object, got a string' }],
  ['an unknown type of aws', { aws: { type: 'iam' } }, { 'aws.type': 'has to be IAM or EC2' }],
  ['a number that is no type of aws', { aws: { type: 2 } }, { 'aws.type': 'has to be IAM or EC2' }],
  ['an aws role with a slash', { aws: { role: 'a/b' } }, { 'aws.role': pathRule }],
  ['a server id with a line end', { aws: { iamServerIdHeader: 'a\r\nb: c' } }, { 'aws.iamServerIdHeader': wordRule }],
  ['a server id with umlauts', { aws: { iamServerIdHeader: 'v\u00e4ult' } }, { 'aws.iamServerIdHeader': wordRule }],
  ['an STS endpoint that is no URL', { aws: { stsEndpoint: 'sts' } }, { 'aws.stsEndpoint': stsRule }],
  ['an STS endpoint with a path', { aws: { stsEndpoint: 'https://a/b' } }, { 'aws.stsEndpoint': 'cannot have a path' }],
  ['a region that is a host', { aws: { stsRegion: 'evil.example/?' } }, { 'aws.stsRegion': regionRule }],
  ['approle without a role id', { approle: {} }, { 'approle.roleId': 'has to be defined' }],
  [
    'approle with a role id of two words and a secret id without source',
    { approle: { roleId: 'a b', secretId: {} } },
    { 'approle.roleId': wordRule, 'approle.secretId': expect.stringContaining('data source') },
  ],
  ['kubernetes without a role', { kubernetes: {} }, { 'kubernetes.role': 'has to be defined' }],
  ['jwt with nothing', { jwt: {} }, { 'jwt.role': 'has to be defined', 'jwt.token': 'has to be defined' }],
  [
    'a jwt mount with an escape, and a number as role',
    { jwt: { role: 7, token: { secret: 'j' }, mount: 'a%2fb' } },
    { 'jwt.role': 'has to be a string, got a number; put it in quotes', 'jwt.mount': mountRule },
  ],
];

/** What stands in `fromCp.auth`, what is read of it, and the secrets that it uses. */
const GOOD_AUTH: readonly [string, unknown, Record<string, unknown>, readonly string[]][] = [
  ['token', { token: { secret: 't' } }, { method: 'token', token: { kind: 'secret', secret: 't' } }, ['t']],
  ['tls', { tls: TLS }, { method: 'tls', mount: 'cert', role: '' }, ['client-cert', 'client-key']],
  [
    'tls with everything',
    { tls: { clientCert: { file: '/c' }, clientKey: KEY, mount: '/users/certs/', role: 'mesh-ca', aws: null } },
    { method: 'tls', mount: 'users/certs', role: 'mesh-ca' },
    ['client-key'],
  ],
  [
    'an empty aws object',
    { aws: {} },
    { method: 'aws', type: 'IAM', mount: 'aws', role: '', iamServerIdHeader: '', stsEndpoint: '', stsRegion: '' },
    [],
  ],
  [
    'aws with everything',
    {
      aws: {
        ...{ type: 'IAM', role: 'ca', iamServerIdHeader: 'vault.example', mount: 'aws/prod' },
        ...{ stsEndpoint: 'https://sts.eu-west-1.amazonaws.com/', stsRegion: 'eu-west-1' },
      },
    },
    {
      ...{ method: 'aws', type: 'IAM', role: 'ca', iamServerIdHeader: 'vault.example', mount: 'aws/prod' },
      ...{ stsEndpoint: 'https://sts.eu-west-1.amazonaws.com', stsRegion: 'eu-west-1' },
    },
    [],
  ],
  ['the number of IAM, as protobuf has it', { aws: { type: 0 } }, { type: 'IAM' }, []],
  [
    'the number of EC2',
    { aws: { type: 1, role: null, mount: '' } },
    { type: 'EC2', mount: 'aws' },
    ['default.vault-ec2-nonce-vault-1'],
  ],
  [
    'approle',
    { approle: { roleId: 'r', secretId: SECRET_ID } },
    { method: 'approle', mount: 'approle' },
    ['secret-id'],
  ],
  ['approle without a secret id', { approle: { roleId: 'r' } }, { method: 'approle', secretId: undefined }, []],
  [
    'kubernetes',
    { kubernetes: { role: 'mesh-ca' } },
    {
      ...{ method: 'kubernetes', role: 'mesh-ca', mount: 'kubernetes' },
      token: { kind: 'file', file: '/var/run/secrets/kubernetes.io/serviceaccount/token' },
    },
    [],
  ],
  ['kubernetes with a token', { kubernetes: { role: 'r', token: { secret: 'sa' } } }, { method: 'kubernetes' }, ['sa']],
  ['jwt', { jwt: { role: 'r', token: { secret: 'j' } } }, { method: 'jwt', mount: 'jwt', role: 'r' }, ['j']],
];

const PAGE_EXAMPLES = findBlocks(readFileSync('adapters/vault/README.md', 'utf8'), 'yaml auth');

describe('the auth of a vault backend', () => {
  it.each(BAD_AUTH)('refuses %s', (_name, auth, expected) => {
    const under = Object.entries(expected).filter(([, message]) => message !== undefined);
    const fields = under.map(([field, message]) => [field === '' ? 'fromCp.auth' : `fromCp.auth.${field}`, message]);
    expect(violationsOf({ ...GOOD, auth })).toEqual(Object.fromEntries(fields));
  });

  it.each(GOOD_AUTH)('reads %s, and knows the secrets it uses and follows', (_name, auth, expected, secrets) => {
    const conf = module.parseConf({ fromCp: { ...GOOD, auth, tls: { caCert: { secret: 'ca' } } } }, CONTEXT);
    expect(conf.auth).toMatchObject(expected);
    expect(module.followedSecrets?.(conf, CONTEXT)).toEqual(secrets);
    const isEc2 = conf.auth.method === 'aws' && conf.auth.type === 'EC2';
    expect(module.laterSecrets?.(conf, CONTEXT)).toEqual(isEc2 ? secrets : []);
    expect([...module.usedSecrets(conf, CONTEXT)].sort()).toEqual([...secrets, 'ca'].sort());
  });

  it.each(PAGE_EXAMPLES)('reads the examples of the page: %s', (text) => {
    expect(violationsOf({ ...GOOD, ...Object(parse(text)) })).toEqual({});
  });

  it('has an example of each method on its page', () => {
    const methods = PAGE_EXAMPLES.map((text) => Object.keys(parse(text).auth)[0]);
    expect(new Set(methods)).toEqual(new Set(['token', 'tls', 'aws', 'approle', 'kubernetes', 'jwt']));
  });

  it('does not follow a secret that is also the CA of the server: that takes new connections', () => {
    const bundle = { secret: 'bundle' };
    const fromCp = { ...GOOD, auth: { tls: { clientCert: bundle, clientKey: KEY } }, tls: { caCert: bundle } };
    const conf = module.parseConf({ fromCp }, CONTEXT);
    expect(module.usedSecrets(conf, CONTEXT)).toEqual(['bundle', 'client-key']);
    expect(module.followedSecrets?.(conf, CONTEXT)).toEqual(['client-key']);
  });

  it('wants https for a client certificate, at whichever address is used, along with all other mistakes', () => {
    const found = violationsOf({ ...GOOD, address: 'http://vault:8200', role: 'a/b', auth: { tls: TLS } });
    expect(found).toEqual({
      'fromCp.role': pathRule,
      'fromCp.auth.tls': expect.stringContaining('fromCp.address has'),
    });
    expect(violationsOf({ ...GOOD, agentAddress: 'http://127.0.0.1:8100', auth: { tls: TLS } })).toEqual({
      'fromCp.auth.tls': expect.stringContaining('fromCp.agentAddress has'),
    });
    expect(
      violationsOf({ ...GOOD, address: 'http://vault', agentAddress: 'https://agent', auth: { tls: TLS } }),
    ).toEqual({});
  });

  it('has its data sources looked at under their own fields, without repeating what they hold', async () => {
    const [missing, empty, junk] = [{ secret: 'gone' }, { secret: 'empty' }, { secret: 'junk' }];
    const deps = createTestDeps({ secrets: { empty: '', junk: 'no PEM, two words' } });
    const found = async (auth: unknown, caCert: unknown) => {
      const conf = module.parseConf({ fromCp: { ...GOOD, auth, tls: { caCert } } }, CONTEXT);
      const { violations } = await checkSources(dataSources(conf), deps.load, live());
      expect(JSON.stringify(violations)).not.toContain('two words');
      return violations.map(({ field }) => field.replace('fromCp.', ''));
    };
    expect(await found({ tls: { clientCert: junk, clientKey: missing } }, empty)).toEqual([
      ...['auth.tls.clientCert', 'auth.tls.clientKey', 'tls.caCert'],
    ]);
    expect(await found({ token: junk }, null)).toEqual(['auth.token']);
    expect(await found({ approle: { roleId: 'r', secretId: empty } }, null)).toEqual(['auth.approle.secretId']);
    expect(await found({ approle: { roleId: 'r' } }, null)).toEqual([]);
    expect(await found({ kubernetes: { role: 'r' } }, null)).toEqual(['auth.kubernetes.token']);
    expect(await found({ jwt: { role: 'r', token: junk } }, null)).toEqual(['auth.jwt.token']);
    expect(await found({ aws: { type: 'EC2' } }, null)).toEqual([]);
  });

  it('never lets a mount leave auth/, nor a line end into any text', () => {
    const text = fc.oneof(fc.string(), fc.constantFrom('..', 'a/../..', 'a\r\nb', '/', 'a//b', '%2e%2e', 'ok/a-b_c.d'));
    fc.assert(
      fc.property(text, fc.constantFrom('tls', 'aws', 'approle', 'kubernetes', 'jwt'), (mount, method) => {
        const one = { ...TLS, roleId: 'r', role: 'r', token: { secret: 'j' }, mount };
        if (violationsOf({ ...GOOD, auth: { [method]: one } })[`fromCp.auth.${method}.mount`] !== undefined) return;
        const conf = module.parseConf({ fromCp: { ...GOOD, auth: { [method]: one } } }, CONTEXT);
        const path = `/v1/auth/${'mount' in conf.auth ? conf.auth.mount : ''}/login`;
        expect(new URL(path, 'http://vault').pathname).toBe(path);
      }),
    );
  });

  it('throws nothing but a ConfigError, whatever it is given', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.constantFrom('token', 'tls', 'aws', 'approle', 'kubernetes', 'jwt'), fc.anything()),
        (auth) => void violationsOf({ ...GOOD, auth }),
      ),
    );
  });
});

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
