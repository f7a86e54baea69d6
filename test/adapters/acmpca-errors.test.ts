import { describe, expect, it } from 'vitest';
import {
  type CaError,
  ConfigError,
  IssuerDeniedError,
  IssuerResponseError,
  IssuerUnavailableError,
  RateLimitedError,
  RequestInvalidError,
} from '../../src/issuer/errors.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { encodePem } from '../../src/x509/pem.ts';
import { live } from '../conformance/issuer.ts';
import type { CaState } from '../fakes/acmpca/certificate-authority.ts';
import type { Fault } from '../fakes/acmpca/strict-acmpca.ts';
import {
  allow,
  callsOf,
  depsOf,
  errorOf,
  exception,
  faultOf,
  hurriedClock,
  issuerOf,
  reply,
  sign,
  startBench,
  startFake,
  until,
  wish,
} from './acmpca-setup.ts';

describe('a refusal', () => {
  const ISSUE: readonly [string, Fault, new (...args: never[]) => CaError, RegExp][] = [
    [
      'AccessDeniedException',
      exception('AccessDeniedException', 'User: arn:aws:iam::123456789012:user/bob is not'),
      IssuerDeniedError,
      /acm-pca:TemplateArn.*EndEntityCertificate\/V1/,
    ],
    [
      'UnrecognizedClientException',
      exception('UnrecognizedClientException', 'The security token is invalid'),
      IssuerDeniedError,
      /auth\.awsCredentials\.accessKey /,
    ],
    ['InvalidClientTokenId', exception('InvalidClientTokenId', '', 403), IssuerDeniedError, /auth\.awsCredentials/],
    ['ExpiredTokenException', exception('ExpiredTokenException', ''), IssuerDeniedError, /auth\.awsCredentials/],
    [
      'InvalidSignatureException',
      exception(
        'InvalidSignatureException',
        'The request signature we calculated does not match. Canonical: x-amz-security-token:abc',
      ),
      IssuerDeniedError,
      /accessKeySecret/,
    ],
    [
      'a signature too old',
      exception(
        'InvalidSignatureException',
        'Signature expired: 20260901T120000Z is now earlier than 20260901T121000Z',
      ),
      IssuerUnavailableError,
      /NTP/,
    ],
    ['MalformedCSRException', exception('MalformedCSRException', 'CSR has no names'), RequestInvalidError, /CSR/],
    ['InvalidArnException', exception('InvalidArnException', 'bad arn'), IssuerDeniedError, /correct arn/],
    [
      'ResourceNotFoundException',
      exception('ResourceNotFoundException', ''),
      IssuerDeniedError,
      /list-certificate-authorities/,
    ],
    [
      'InvalidArgsException',
      exception('InvalidArgsException', 'something about arn:aws:iam::123456789012:user/bob'),
      IssuerDeniedError,
      /describe-certificate-authority/,
    ],
    [
      'ValidationException',
      exception('ValidationException', 'a constraint'),
      IssuerDeniedError,
      /describe-certificate-authority/,
    ],
    ['LimitExceededException', exception('LimitExceededException', 'too many'), IssuerDeniedError, /quota/],
    ['RequestFailedException', exception('RequestFailedException', ''), IssuerUnavailableError, /CloudTrail/],
    ['TooManyRequestsException', exception('TooManyRequestsException', '', 429), RateLimitedError, /quota/],
    ['RequestLimitExceeded', exception('RequestLimitExceeded', ''), RateLimitedError, /quota/],
    [
      'an exception of tomorrow',
      exception('TomorrowException', 'by arn:aws:iam::123456789012:user/bob'),
      IssuerDeniedError,
      /health/,
    ],
    ['UnknownOperationException', exception('UnknownOperationException', ''), IssuerResponseError, /correct endpoint/],
    [
      'an error page',
      { status: 404, headers: { 'content-type': 'text/html' }, body: '<html>not here</html>' },
      IssuerResponseError,
      /correct endpoint/,
    ],
    ['a certificate ARN that is none', reply('{}'), IssuerResponseError, /correct endpoint/],
  ];
  it.each(ISSUE)(
    '%s has its class and its fix, and names neither account nor principal',
    async (name, fault, type, fix) => {
      const bench = await startBench();
      bench.pca.fault = faultOf('IssueCertificate', fault);
      const error = await errorOf(sign(bench));
      expect(error).toBeInstanceOf(type);
      const { message, fix: told = '', retryAfterMs } = Object(error);
      expect(told).toMatch(fix);
      expect(message).not.toMatch(/123456789012|bob|x-amz-security-token/);
      expect(message).toContain('IssueCertificate');
      // Perhaps this one has more names than AWS takes.
      expect(Object(error).ofRequest).toBe(/^(InvalidArgs|Validation)Exception$/.test(name));
      if (type === RateLimitedError) expect(retryAfterMs).toBeGreaterThan(0);
      expect(callsOf(bench.pca, 'IssueCertificate')).toBeLessThanOrEqual(3);
      expect(
        JSON.stringify(Object(error).cause ?? '', Object.getOwnPropertyNames(Object(Object(error).cause))),
      ).not.toMatch(/bob/);
    },
  );

  it('of a common name names the other template', async () => {
    const bench = await startBench({}, { commonName: 'web' });
    bench.pca.user.policies = allow('GetCertificate');
    expect(String(Object(await errorOf(sign(bench))).fix)).toContain('EndEntityCertificate_APIPassthrough/V1');
  });

  const STATES: readonly [CaState, RegExp][] = [
    ['CREATING', /wait/],
    ['PENDING_CERTIFICATE', /import-certificate-authority-certificate/],
    ['DISABLED', /update-certificate-authority .*--status ACTIVE/],
    ['DELETED', /restore-certificate-authority/],
    ['EXPIRED', /get-certificate-authority-csr/],
    ['FAILED', /another CA/],
  ];
  it.each(STATES)('of a CA that is %s says so, before and after it was known, and ends with it', async (state, fix) => {
    const bench = await startBench();
    bench.pca.ca.state = state;
    const before = await errorOf(sign(bench));
    expect(callsOf(bench.pca, 'IssueCertificate')).toBe(0);
    bench.pca.ca.state = 'ACTIVE';
    await sign(bench);
    bench.pca.ca.state = state;
    const after = await errorOf(sign(bench));
    for (const error of [before, after]) {
      expect(error).toBeInstanceOf(IssuerDeniedError);
      expect(Object(error).message).toContain(state);
      expect(Object(error).fix).toMatch(fix);
    }
    bench.pca.ca.state = 'ACTIVE';
    await sign(bench);
  });

  it('of a CA in an unknown state tells how to see it', async () => {
    const bench = await startBench();
    bench.pca.user.policies = allow('IssueCertificate', 'GetCertificate');
    bench.pca.ca.state = 'DISABLED';
    expect(String(Object(await errorOf(sign(bench))).fix)).toContain('describe-certificate-authority');
  });
});

describe('the credentials', () => {
  it('of the conf are told apart when they cannot be used', async () => {
    const pca = await startFake();
    const CASES: readonly [Record<string, string>, string][] = [
      [{ 'aws-key': '' }, 'auth.awsCredentials.accessKey'],
      [{ 'aws-secret': ' \n' }, 'auth.awsCredentials.accessKeySecret'],
      [{ 'aws-key': `${'ASIA'}IOSFODNN7EXAMPLE` }, 'auth.awsCredentials.accessKey'],
      [{ 'aws-secret': 'two words' }, 'auth.awsCredentials.accessKeySecret'],
    ];
    for (const [secrets, field] of CASES) {
      const error = await errorOf(sign({ issuer: issuerOf(pca, depsOf(pca, { secrets })) }));
      expect(error).toBeInstanceOf(ConfigError);
      expect(Object(error).violations).toMatchObject([{ field }]);
      expect(Object(error).message).not.toContain('two words');
    }
    expect(pca.calls).toHaveLength(0);
  });

  it('that are missing are named', async () => {
    const pca = await startFake();
    const deps = depsOf(pca);
    deps.stored.delete('aws-secret');
    const error = await errorOf(sign({ issuer: issuerOf(pca, deps) }));
    expect(Object(error).violations).toMatchObject([{ field: 'auth.awsCredentials.accessKeySecret' }]);
  });

  it('are loaded again when AWS refuses them, and not at every call', async () => {
    const pca = await startFake();
    let laterMs = 0;
    const clock = { ...hurriedClock, monotonicMs: () => systemClock.monotonicMs() + laterMs };
    const deps = depsOf(pca, { clock });
    let loads = 0;
    const counting = {
      ...deps,
      load: (...call: Parameters<typeof deps.load>) => {
        loads += 1;
        return deps.load(...call);
      },
    };
    const issuer = issuerOf(pca, counting);
    await sign({ issuer });
    expect(loads).toBe(2);
    pca.user.isActive = false;
    for (let i = 0; i < 5; i += 1) expect(await errorOf(sign({ issuer }))).toBeInstanceOf(IssuerDeniedError);
    expect(loads).toBe(4);
    pca.user.isActive = true;
    await sign({ issuer });
    const rotated = pca.createUser({ policies: pca.user.policies });
    deps.stored.set('aws-key', Buffer.from(rotated.accessKeyId));
    deps.stored.set('aws-secret', Buffer.from(rotated.secretAccessKey));
    pca.user.isActive = false;
    laterMs = 1000;
    await errorOf(sign({ issuer }));
    await sign({ issuer });
  });
});

describe('what comes back', () => {
  it('is refused when it is for another key, and asked for anew next time', async () => {
    const bench = await startBench();
    const request = await wish(bench.issuer);
    bench.pca.ca.wrongKey = true;
    expect(await errorOf(bench.issuer.sign(request, live()))).toBeInstanceOf(IssuerResponseError);
    bench.pca.ca.wrongKey = false;
    await bench.issuer.sign(request, live());
    expect(bench.pca.issuedCount).toBe(2);
  });

  it('is refused when it was signed by another key than the CA has', async () => {
    const bench = await startBench();
    bench.pca.ca.foreignSigner = true;
    const error = await errorOf(sign(bench));
    expect(error).toBeInstanceOf(IssuerResponseError);
    expect(Object(error).message).toContain('does not verify');
    bench.pca.ca.foreignSigner = false;
    await sign(bench);
  });

  it('is refused when it does not end in the root of caCert', async () => {
    const pca = await startFake({ ca: { type: 'subordinate', keyType: 'EC-P256' } });
    const caCert = { inlineString: encodePem('CERTIFICATE', pca.ca.root) };
    const issuer = issuerOf(pca, depsOf(pca), { caCert });
    const issued = await sign({ issuer });
    expect(issued.roots).toEqual([pca.ca.root]);
    expect(issued.chain).toEqual([pca.ca.certificate]);
    pca.ca.foreignRoot = true;
    const error = await errorOf(sign({ issuer }));
    expect(error).toBeInstanceOf(IssuerResponseError);
    expect(Object(error).message).toContain('not the one in caCert');
  });

  it('is waited for as long as it takes, within limits', async () => {
    const bench = await startBench({ readyAfterMs: 700 }, {}, { clock: systemClock });
    await sign(bench);
    expect(callsOf(bench.pca, 'GetCertificate')).toBeLessThanOrEqual(6);
  });
});

describe('the wire', () => {
  it('works with a clock that is ten minutes off: the signature is dated anew, and the log says it once', async () => {
    const warnings: string[] = [];
    const log = {
      debug() {},
      info() {},
      error() {},
      warn: (_fields: object, message: string) => void warnings.push(message),
    };
    const bench = await startBench({}, {}, { log });
    bench.pca.clockOffsetMs = -600_000;
    await sign(bench, { ttlSeconds: 7200 });
    await sign(bench, { ttlSeconds: 7200 });
    expect(warnings).toEqual([expect.stringContaining('clock')]);
  });

  it('goes over new connections after the old ones died without a word', async () => {
    const bench = await startBench();
    await sign(bench);
    bench.pca.dropConnections();
    await sign(bench);
    expect(bench.pca.issuedCount).toBe(2);
  });

  it('is left at once when the issuer is closed, with nothing held', async () => {
    const bench = await startBench({ readyAfterMs: 60_000 });
    const work = errorOf(sign(bench));
    await until(() => callsOf(bench.pca, 'GetCertificate') > 0);
    await bench.issuer.close();
    expect(await work).toBeInstanceOf(IssuerUnavailableError);
    await until(() => bench.pca.connections().open === 0);
  });

  it('tells an endpoint that is not there', async () => {
    const pca = await startFake();
    const issuer = issuerOf(pca, depsOf(pca));
    await pca.close();
    const error = await errorOf(sign({ issuer }));
    expect(error).toBeInstanceOf(IssuerUnavailableError);
    expect(Object(error)).toMatchObject({
      message: expect.stringContaining('refuses connections'),
      fix: 'correct endpoint',
    });
  });

  it('takes no answer without end', async () => {
    const bench = await startBench();
    bench.pca.fault = faultOf('IssueCertificate', reply('x'.repeat(2 * 1024 * 1024)));
    expect(await errorOf(sign(bench))).toBeInstanceOf(IssuerResponseError);
  });
});
