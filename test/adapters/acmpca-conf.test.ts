import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { findEndpoint } from '../../adapters/acmpca/endpoint.ts';
import { module } from '../../adapters/acmpca/module.ts';
import { violationsByField } from '../support/violations-by-field.ts';
import { CONTEXT } from './acmpca-setup.ts';

const UUID = '11111111-2222-3333-4444-555555555555';
const ARN = `arn:aws:acm-pca:eu-west-1:123456789012:certificate-authority/${UUID}`;

function violationsOf(conf: unknown): Record<string, string> {
  return violationsByField(() => module.parseConf(conf, CONTEXT));
}

const has = (text: string) => expect.stringContaining(text);

const BAD: readonly [string, unknown, Record<string, unknown>][] = [
  ['no arn', {}, { arn: 'has to be defined' }],
  ['a number as arn', { arn: 1 }, { arn: 'has to be a string, got a number; put it in quotes' }],
  ['an empty arn', { arn: '' }, { arn: 'cannot be empty' }],
  ['a UUID as arn', { arn: UUID }, { arn: has('has to be the ARN of a private CA') }],
  [
    'the ARN of an ACM certificate',
    { arn: `arn:aws:acm:eu-west-1:123456789012:certificate/${UUID}` },
    { arn: has('is an ARN of the service acm (certificate), which holds finished certificates') },
  ],
  [
    'the ARN of an IAM role',
    { arn: 'arn:aws:iam::123456789012:role/mesh' },
    { arn: has('is an ARN of the service iam (role), not of a private CA') },
  ],
  ['the ARN of a queue', { arn: 'arn:aws:sqs:eu-west-1:123456789012:q' }, { arn: has('the service sqs') }],
  [
    'the ARN of an issued certificate',
    { arn: `${ARN}/certificate/${'a'.repeat(32)}` },
    { arn: has('an issued certificate') },
  ],
  [
    'the ARN of a template',
    { arn: 'arn:aws:acm-pca:::template/EndEntityCertificate/V1' },
    { arn: has('a certificate template') },
  ],
  ['an ARN whose id is no UUID', { arn: ARN.replace(UUID, 'my-ca') }, { arn: has('id is no UUID') }],
  ['an ARN with a line end', { arn: `${ARN}\r\nX-Amz-Target: a` }, { arn: has('printable ASCII') }],
  ['an ARN with a blank', { arn: ` ${ARN}` }, { arn: has('printable ASCII') }],
  ['an ARN without a region', { arn: ARN.replace('eu-west-1', '') }, { arn: has('no region') }],
  ['an ARN with a short account', { arn: ARN.replace('123456789012', '1234') }, { arn: has('12 digits') }],
  ['an ARN of another cloud', { arn: ARN.replace('arn:aws:', 'arn:gcp:') }, { arn: has('unknown partition') }],
  ['a bad template', { arn: ARN, commonName: '{{ tag }' }, { commonName: has('template') }],
  ['a caCert without source', { arn: ARN, caCert: {} }, { caCert: has('data source') }],
  [
    'a caCert with two sources',
    { arn: ARN, caCert: { secret: 'a', file: '/b' } },
    { caCert: has('only one data source') },
  ],
  ['auth as a text', { arn: ARN, auth: 'x' }, { auth: 'has to be an object, got a string' }],
  [
    'an access key without its secret',
    { arn: ARN, auth: { awsCredentials: { accessKey: { secret: 'a' } } } },
    { 'auth.awsCredentials.accessKeySecret': 'has to be defined where accessKey is' },
  ],
  [
    'a secret without its access key',
    { arn: ARN, auth: { awsCredentials: { accessKeySecret: { secret: 'a' } } } },
    { 'auth.awsCredentials.accessKey': 'has to be defined where accessKeySecret is' },
  ],
  ['an endpoint that is no URL', { arn: ARN, endpoint: 'acm-pca:443' }, { endpoint: has('http or https URL') }],
  ['an endpoint with a password', { arn: ARN, endpoint: 'https://u:p@vpce' }, { endpoint: has('http or https URL') }],
  ['an endpoint with a line end', { arn: ARN, endpoint: 'https://vpce\r\nx' }, { endpoint: has('http or https URL') }],
];

describe('the conf of an acmpca backend', () => {
  it.each(BAD)('refuses %s, naming the field', (_name, conf, expected) => {
    expect(violationsOf(conf)).toEqual(expected);
  });

  it('refuses a missing conf, too', () => {
    expect(Object.keys(violationsOf(undefined))).toEqual(['']);
  });

  it('tells all mistakes at once', () => {
    const conf = {
      arn: 'x',
      commonName: '{{',
      caCert: {},
      endpoint: 'y',
      auth: { awsCredentials: { accessKey: { inline: '!' } } },
    };
    const fields = ['arn', 'auth.awsCredentials.accessKey.inline', 'caCert', 'commonName', 'endpoint'];
    expect(Object.keys(violationsOf(conf)).sort()).toEqual(fields);
  });

  it('accepts the least that is documented: an ARN', () => {
    const conf = module.parseConf({ arn: ARN }, CONTEXT);
    expect(conf).toMatchObject({
      awsCredentials: undefined,
      caCert: undefined,
      commonName: undefined,
      endpoint: undefined,
    });
    expect(conf.arn).toMatchObject({ partition: 'aws', region: 'eu-west-1', account: '123456789012', id: UUID });
    expect(module.usedSecrets(conf, CONTEXT)).toEqual([]);
  });

  it('accepts everything that is documented, and knows the secrets it uses', () => {
    const conf = module.parseConf(
      {
        arn: ARN,
        commonName: '{{ tag "kuma.io/service" }}.mesh',
        caCert: { secret: 'ca' },
        auth: { awsCredentials: { accessKey: { secret: 'key' }, accessKeySecret: { secret: 'word' } } },
        endpoint: 'https://vpce-1.acm-pca.eu-west-1.vpce.amazonaws.com/',
      },
      CONTEXT,
    );
    expect(conf.endpoint).toBe('https://vpce-1.acm-pca.eu-west-1.vpce.amazonaws.com');
    expect(module.usedSecrets(conf, CONTEXT)).toEqual(['ca', 'key', 'word']);
  });

  it.each(['aws', 'aws-cn', 'aws-us-gov', 'aws-iso', 'aws-iso-b', 'aws-eusc'])(
    'accepts the partition %s',
    (partition) => {
      const conf = module.parseConf({ arn: ARN.replace('arn:aws:', `arn:${partition}:`) }, CONTEXT);
      expect(conf.arn.partition).toBe(partition);
    },
  );

  it('takes what is empty or null for not set, and ignores unknown fields', () => {
    const conf = {
      arn: ARN,
      commonName: '',
      caCert: null,
      auth: { awsCredentials: {} },
      endpoint: '',
      region: 'us-east-1',
    };
    expect(module.parseConf(conf, CONTEXT)).toMatchObject({ commonName: undefined, awsCredentials: undefined });
  });

  it('never throws anything but violations, and none that repeats what was given, whatever is given', () => {
    fc.assert(
      fc.property(
        fc.object({ key: fc.constantFrom('arn', 'auth', 'caCert', 'endpoint', 'awsCredentials', 'secret') }),
        (conf) => {
          violationsOf(conf);
        },
      ),
      { numRuns: 50 },
    );
  });
});

describe('the endpoint of an acmpca backend', () => {
  const conf = module.parseConf({ arn: ARN }, CONTEXT);
  const CASES: readonly [string, Record<string, string>, string | undefined][] = [
    ["AWS's own when nothing is set", {}, undefined],
    ['that of the service', { AWS_ENDPOINT_URL_ACM_PCA: 'http://a:1', AWS_ENDPOINT_URL: 'http://b:2' }, 'http://a:1'],
    ['that of all services', { AWS_ENDPOINT_URL: 'http://b:2/' }, 'http://b:2'],
    ['not an ignored one', { AWS_ENDPOINT_URL: 'http://b:2', AWS_IGNORE_CONFIGURED_ENDPOINT_URLS: 'true' }, undefined],
  ];
  it.each(CASES)('is %s', (_name, env, url) => expect(findEndpoint(conf, env).url).toBe(url));

  it("is the conf's before the environment's", () => {
    const own = module.parseConf({ arn: ARN, endpoint: 'https://c' }, CONTEXT);
    expect(findEndpoint(own, { AWS_ENDPOINT_URL: 'http://b:2' })).toEqual({ url: 'https://c', from: 'endpoint' });
  });

  it('is refused when the variable holds no URL, without repeating it', () => {
    expect(() => findEndpoint(conf, { AWS_ENDPOINT_URL: 'secret words' })).toThrow(
      'the environment variable AWS_ENDPOINT_URL holds no http or https URL',
    );
  });
});
