import { describe, expect, it } from 'vitest';
import { ConfigError, type Violation } from '../../src/issuer/errors.ts';
import { loadSettings, type SettingSources, settingsMarkdown, showDefault } from '../../src/runtime/settings.ts';
import { SETTING_KEYS, settingNames } from '../../src/runtime/settings-table.ts';

const NOTHING: SettingSources = { flags: {}, env: {} };

function mistakesOf(sources: Partial<SettingSources>): readonly Violation[] {
  try {
    loadSettings({ ...NOTHING, ...sources });
  } catch (error) {
    if (error instanceof ConfigError) return error.violations;
    throw error;
  }
  return [];
}

describe('settings', () => {
  it('are complete without anything written', () => {
    expect(loadSettings(NOTHING)).toEqual({
      mode: 'standalone',
      apiHost: '127.0.0.1',
      apiPort: 5681,
      sdsHost: '127.0.0.1',
      sdsPort: 5678,
      sdsAuth: 'token',
      sdsIdentityName: 'identity_cert',
      sdsTrustName: 'mesh_ca',
      dataDir: './data',
      store: 'sqlite:./data/mesh-ca.db',
      storeKeyFile: './data/store.key',
      zoneName: 'default',
      product: 'Kuma',
      localhostIsAdmin: true,
      apiTokenFile: undefined,
      fileDataSourceDirs: [],
      certificateProfile: 'kuma',
      dpCertExpirationMs: 30 * 86_400_000,
      dpKeyType: 'EC-P256',
      dataplaneOnlineForMs: 300_000,
      rotationSettleMs: 30_000,
      builtinRootRenewal: false,
      requestTimeoutMs: 30_000,
      backoffBaseMs: 5000,
      backoffMaxMs: 300_000,
      breakerDataplanes: 10,
      recoverySpreadMs: 60_000,
      canaryIntervalMs: 300_000,
      canaryBilledIntervalMs: 0,
      vaultTokenChangeCheckIntervalMs: 30_000,
      acmpcaIssuesPerSecond: 25,
      acmpcaGetsPerSecond: 75,
      systemNamespace: 'kong-mesh-system',
      podName: '',
      podUid: '',
      shutdownTimeoutMs: 10_000,
      logLevel: 'info',
    });
  });

  it('put the store and its key below the data folder that is written', () => {
    const settings = loadSettings({ ...NOTHING, env: { MESH_CA_DATA_DIR: '/var/lib/mesh-ca' } });
    expect(settings.store).toBe('sqlite:/var/lib/mesh-ca/mesh-ca.db');
    expect(settings.storeKeyFile).toBe('/var/lib/mesh-ca/store.key');
  });

  it.each([
    {
      name: 'a flag over all',
      flags: { apiPort: '1' },
      env: { MESH_CA_API_PORT: '2' },
      fileText: 'apiPort: 3',
      port: 1,
    },
    {
      name: 'the environment over the file',
      flags: {},
      env: { MESH_CA_API_PORT: '2' },
      fileText: 'apiPort: 3',
      port: 2,
    },
    { name: 'the file over the default', flags: {}, env: {}, fileText: 'apiPort: 3', port: 3 },
    { name: 'the file with a text', flags: {}, env: {}, fileText: 'apiPort: "0"', port: 0 },
    { name: 'the default for an empty file', flags: {}, env: {}, fileText: '# nothing yet\n', port: 5681 },
  ])('take $name', ({ flags, env, fileText, port }) => {
    expect(loadSettings({ flags, env, fileText }).apiPort).toBe(port);
  });

  it.each([
    { name: 'a repeated flag', sources: { flags: { fileDataSourceDirs: ['/a', '/b,/c'] } }, dirs: ['/a', '/b', '/c'] },
    {
      name: 'commas in the environment',
      sources: { env: { MESH_CA_FILE_DATA_SOURCE_DIRS: '/a, /b' } },
      dirs: ['/a', '/b'],
    },
    { name: 'nothing in the environment', sources: { env: { MESH_CA_FILE_DATA_SOURCE_DIRS: '' } }, dirs: [] },
    { name: 'a list in the file', sources: { fileText: 'fileDataSourceDirs:\n  - /a\n  - /b\n' }, dirs: ['/a', '/b'] },
  ])('read a list from $name', ({ sources, dirs }) => {
    expect(loadSettings({ ...NOTHING, ...sources }).fileDataSourceDirs).toEqual(dirs);
  });

  it('tell every mistake at once, by the name that was written, with value and expected form', () => {
    const violations = mistakesOf({
      flags: { apiPort: '99999', dataplaneOnlineFor: '5' },
      env: { MESH_CA_MODE: 'zone', MESH_CA_LOG_LEVEL: '', PATH: '/bin' },
      fileText: 'zoneName: A\nlocalhostIsAdmin: maybe\ndpKeyType: [EC-P256]\n',
    });
    expect(violations).toEqual([
      { field: 'MESH_CA_MODE', message: expect.stringMatching(/^"zone" is not usable: expected `standalone`/) },
      { field: '--api-port', message: expect.stringMatching(/^"99999" is not usable: expected a whole number from 0/) },
      { field: 'zoneName', message: expect.stringMatching(/^"A" is not usable: expected a DNS label/) },
      { field: 'localhostIsAdmin', message: '"maybe" is not usable: expected `true` or `false`' },
      { field: 'dpKeyType', message: '["EC-P256"] is not usable: expected `EC-P256` or `RSA-2048`' },
      {
        field: '--dataplane-online-for',
        message: expect.stringMatching(/^"5" is not usable: expected .*such as `5m`$/),
      },
      { field: 'MESH_CA_LOG_LEVEL', message: expect.stringMatching(/^"" is not usable/) },
    ]);
  });

  it('take the name and the UID of a Pod together or not at all', () => {
    expect(mistakesOf({ flags: { podName: 'mesh-ca-0' }, env: {}, fileText: '' })).toEqual([
      { field: '--pod-name', message: 'is worth nothing without `--pod-uid`: set both or none' },
    ]);
    expect(mistakesOf({ flags: {}, env: { MESH_CA_POD_UID: 'a-1' }, fileText: '' })).toEqual([
      { field: 'MESH_CA_POD_UID', message: 'is worth nothing without `--pod-name`: set both or none' },
    ]);
    const both = loadSettings({ ...NOTHING, flags: { podName: 'mesh-ca-0' }, env: { MESH_CA_POD_UID: 'a-1' } });
    expect([both.podName, both.podUid]).toEqual(['mesh-ca-0', 'a-1']);
  });

  it('take certificate and key of TLS together or not at all', () => {
    expect(mistakesOf({ flags: { apiTlsCertFile: 'cert.pem' }, env: {}, fileText: '' })).toEqual([
      { field: '--api-tls-cert-file', message: 'is worth nothing without `--api-tls-key-file`: set both or none' },
    ]);
    expect(mistakesOf({ flags: {}, env: { MESH_CA_API_TLS_KEY_FILE: 'key.pem' }, fileText: '' })).toEqual([
      {
        field: 'MESH_CA_API_TLS_KEY_FILE',
        message: 'is worth nothing without `--api-tls-cert-file`: set both or none',
      },
    ]);
  });

  it.each([
    [
      { sdsHost: '0.0.0.0' },
      '--sds-host',
      /^0\.0\.0\.0 is no loopback address, and keys do not go .* in clear: set apiTls/,
    ],
    [{ sdsAuth: 'mtls' }, '--sds-auth', /^mtls needs a server certificate: set apiTlsCertFile and apiTlsKeyFile/],
    [{ sdsAuth: 'none', sdsHost: 'ca.example' }, '--sds-auth', /^none gives keys to whoever reaches ca\.example/],
    [
      { sdsAuth: 'none', sdsHost: '::', apiTlsCertFile: 'c', apiTlsKeyFile: 'k' },
      '--sds-auth',
      /^none gives keys to whoever/,
    ],
  ])('refuse what would give keys away over SDS, with all other mistakes: %j', (flags, field, message) => {
    const told = { field, message: expect.stringMatching(message) };
    expect(mistakesOf({ ...NOTHING, flags })).toEqual([told]);
    const [other, ...rest] = mistakesOf({ ...NOTHING, flags: { ...flags, apiPort: 'x' } });
    expect([other?.field, rest]).toEqual(['--api-port', [told]]);
    expect(loadSettings({ ...NOTHING, flags: { ...flags, sdsPort: 'off' } }).sdsPort).toBeUndefined();
  });

  it.each([
    [{ sdsHost: '0.0.0.0', apiTlsCertFile: 'c', apiTlsKeyFile: 'k' }],
    [{ sdsAuth: 'mtls', apiTlsCertFile: 'c', apiTlsKeyFile: 'k' }],
    [{ sdsAuth: 'none', sdsHost: '127.9.9.9' }],
    [{ sdsAuth: 'none', sdsHost: '::1' }],
    [{ sdsHost: 'localhost' }],
  ])('take a Secret Discovery Service that keeps keys to itself: %j', (flags) => {
    expect(loadSettings({ ...NOTHING, flags })).toMatchObject(flags);
  });

  it('judge nothing together of which a part is malformed', () => {
    const mistakes = mistakesOf({ ...NOTHING, flags: { sdsAuth: 'nobody', sdsHost: '0.0.0.0' } });
    expect(mistakes.map(({ field }) => field)).toEqual(['--sds-auth']);
    const half = mistakesOf({ ...NOTHING, flags: { sdsHost: '0.0.0.0', apiTlsKeyFile: 'k' } });
    expect(half.map(({ field }) => field)).toEqual(['--api-tls-key-file']);
  });

  it('check a value also where a stronger one hides it', () => {
    const violations = mistakesOf({ flags: { apiPort: '1' }, env: { MESH_CA_API_PORT: 'x' }, fileText: 'apiPort: y' });
    expect(violations.map(({ field }) => field)).toEqual(['MESH_CA_API_PORT', 'apiPort']);
  });

  it.each([
    {
      name: 'an environment variable',
      sources: { env: { MESH_CA_APIPORT: '1' } },
      field: 'MESH_CA_APIPORT',
      near: 'MESH_CA_API_PORT',
    },
    { name: 'a key of the file', sources: { fileText: 'apiHst: x' }, field: 'apiHst', near: 'apiHost' },
    { name: 'a key by its flag name', sources: { fileText: 'log-level: info' }, field: 'log-level', near: 'logLevel' },
  ])('refuse $name that they do not know, and name a near one', ({ sources, field, near }) => {
    expect(mistakesOf(sources)).toEqual([{ field, message: expect.stringContaining(`perhaps \`${near}\``) }]);
  });

  it('know the variables of the client commands', () => {
    expect(mistakesOf({ env: { MESH_CA_ADDRESS: 'x', MESH_CA_TOKEN_FILE: 'y', MESH_CA_CONFIG: 'z' } })).toEqual([]);
  });

  it.each([
    { name: 'a password in the store', env: { MESH_CA_STORE: 'postgres://mesh:hunter2@db/ca' }, secret: 'hunter2' },
    { name: 'an unknown variable', env: { MESH_CA_VAULT_TOKEN: 'hvs.verysecretvalue' }, secret: 'verysecret' },
    { name: 'a token in the wrong place', env: { MESH_CA_ZONE_NAME: 'hvs.verysecretvalue' }, secret: 'verysecret' },
    { name: 'a token instead of its file', env: { MESH_CA_API_TOKEN_FILE: 'eyJ0\0secret' }, secret: 'secret' },
  ])('never repeat $name', ({ env, secret }) => {
    const violations = mistakesOf({ env });
    expect(violations).toHaveLength(1);
    expect(JSON.stringify(violations)).not.toContain(secret);
  });

  it.each([
    { name: 'broken YAML', fileText: 'a: [b\nc: d\n', message: /^line 2, column 1: not valid YAML/ },
    {
      name: 'a key twice',
      fileText: 'apiPort: 1\napiPort: 2\n',
      message: /^line 2, column 1: not valid YAML \(DUPLICATE_KEY\)/,
    },
    { name: 'a list', fileText: '- apiPort\n', message: /holds no mapping/ },
    { name: 'aliases', fileText: 'dataDir: &d x\nstoreKeyFile: *d\n', message: /aliases/ },
    { name: 'a huge file', fileText: '#'.repeat(300_000), message: /larger than/ },
  ])('refuse $name', ({ fileText, message }) => {
    expect(mistakesOf({ fileText })[0]).toEqual({ field: '--config', message: expect.stringMatching(message) });
  });

  it.each([
    ['storeKeyFile', 'MESH_CA_STORE_KEY_FILE', 'x\0y'],
    ['dpCertExpirationMs', 'MESH_CA_DP_CERT_EXPIRATION', '59s'],
    ['dpCertExpirationMs', 'MESH_CA_DP_CERT_EXPIRATION', '11y'],
    ['requestTimeoutMs', 'MESH_CA_REQUEST_TIMEOUT', '1h30m'],
    ['requestTimeoutMs', 'MESH_CA_REQUEST_TIMEOUT', '0'],
    ['store', 'MESH_CA_STORE', 'mysql://x'],
    ['store', 'MESH_CA_STORE', 'sqlite://'],
    ['apiHost', 'MESH_CA_API_HOST', '[::1]'],
    ['product', 'MESH_CA_PRODUCT', 'K\u0007'],
    ['apiPort', 'MESH_CA_API_PORT', '-1'],
    ['apiPort', 'MESH_CA_API_PORT', '1e3'],
    ['apiPort', 'MESH_CA_API_PORT', '65536'],
  ])('refuse for %s: %s=%s', (_key, variable, value) => {
    expect(mistakesOf({ env: { [variable]: value } }).map(({ field }) => field)).toEqual([variable]);
  });

  it('may switch the look at Vault tokens off', () => {
    const env = { MESH_CA_VAULT_TOKEN_CHANGE_CHECK_INTERVAL: '0' };
    expect(loadSettings({ ...NOTHING, env }).vaultTokenChangeCheckIntervalMs).toBe(0);
  });

  it('have names that follow from their key', () => {
    expect(settingNames('dpCertExpirationMs')).toEqual({
      flag: '--dp-cert-expiration',
      option: 'dpCertExpiration',
      env: 'MESH_CA_DP_CERT_EXPIRATION',
      yaml: 'dpCertExpiration',
    });
  });

  it('stand in the table for README, one row each, by all three names', () => {
    const lines = settingsMarkdown().split('\n');
    expect(lines).toHaveLength(2 + SETTING_KEYS.length);
    for (const key of SETTING_KEYS) {
      const { flag, env, yaml } = settingNames(key);
      expect(lines.filter((line) => line.startsWith(`| \`${yaml}\` | \`${flag}\` | \`${env}\` |`))).toHaveLength(1);
    }
  });

  it('have a default that a reader can see, if it is that there is none', () => {
    for (const key of SETTING_KEYS) expect(showDefault(key), key).toMatch(/\S/);
  });
});
