import { describe, expect, it } from 'vitest';
import {
  CaError,
  ConfigError,
  IssuancePendingError,
  IssuerDeniedError,
  IssuerResponseError,
  IssuerUnavailableError,
  RateLimitedError,
  RequestInvalidError,
} from '../../src/issuer/errors.ts';
import type { Check, IssuedCertificate } from '../../src/issuer/issuer.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { createSharedResources } from '../../src/runtime/shared-resources.ts';
import { parseCertificate } from '../../src/x509/certificate.ts';
import { encodePem } from '../../src/x509/pem.ts';
import { live } from '../conformance/issuer.ts';
import type { SeenCall } from '../fakes/acmpca/calls.ts';
import type { CaState } from '../fakes/acmpca/certificate-authority.ts';
import type { PolicyDocument } from '../fakes/acmpca/iam-policy.ts';
import type { Fault, StrictAcmPca } from '../fakes/acmpca/strict-acmpca.ts';
import {
  type Bench,
  depsOf,
  errorOf,
  hurriedClock,
  issuerOf,
  startBench,
  startFake,
  type Wish,
  wish,
} from './acmpca-setup.ts';

const DAY_SECONDS = 86_400;
const json = { 'content-type': 'application/x-amz-json-1.1' };

async function sign({ issuer }: Pick<Bench, 'issuer'>, changes: Wish = {}): Promise<IssuedCertificate> {
  return issuer.sign(await wish(issuer, changes), live());
}

function lifeSeconds({ leaf }: IssuedCertificate): number {
  const { notBefore, notAfter } = parseCertificate(leaf);
  return (notAfter.getTime() - notBefore.getTime()) / 1000;
}

const calls = (pca: StrictAcmPca, operation: Parameters<StrictAcmPca['counts']>[0]) => pca.counts(operation).calls;

/** An exception as AWS sends it. */
function exception(name: string, message = '', status = 400): Fault {
  return { status, headers: json, body: JSON.stringify({ __type: name, message }) };
}

/** The first `times` calls of an operation end so. */
function faultOf(
  operation: string,
  fault: Fault,
  times = Number.POSITIVE_INFINITY,
): (call: SeenCall) => Fault | undefined {
  let left = times;
  return (call) => {
    if (call.operation !== operation || left <= 0) return undefined;
    left -= 1;
    return fault;
  };
}

function allow(...actions: string[]): readonly PolicyDocument[] {
  return [
    {
      Version: '2012-10-17',
      Statement: [{ Effect: 'Allow', Action: actions.map((action) => `acm-pca:${action}`), Resource: '*' }],
    },
  ];
}

describe('the number of calls', () => {
  it('is one to issue and one to fetch, once it is known how long AWS takes', async () => {
    const bench = await startBench({ readyAfterMs: 60 }, {}, { clock: systemClock });
    for (let i = 0; i < 5; i += 1) await sign(bench, { requestId: `warm-${i}` });
    const before = bench.pca.calls.length;
    for (let i = 0; i < 10; i += 1) await sign(bench, { requestId: `r-${i}` });
    expect(bench.pca.issuedCount).toBe(15);
    expect(bench.pca.calls.length - before).toBeLessThanOrEqual(30);
    expect([
      calls(bench.pca, 'DescribeCertificateAuthority'),
      calls(bench.pca, 'GetCertificateAuthorityCertificate'),
    ]).toEqual([1, 1]);
  });

  it('stays within the quota of the account, whichever mesh asks', async () => {
    const quotas = { IssueCertificate: 20, GetCertificate: 60 };
    const pca = await startFake({ quotas });
    const shared = createSharedResources();
    const settings = { acmpcaIssuesPerSecond: 20, acmpcaGetsPerSecond: 60 };
    const issuers = [1, 2, 3].map(() => issuerOf(pca, depsOf(pca, { shared, settings, clock: systemClock })));
    await Promise.all(issuers.flatMap((issuer) => Array.from({ length: 7 }, () => sign({ issuer }))));
    expect(pca.issuedCount).toBe(21);
    expect(pca.calls.filter(({ error }) => error === 'ThrottlingException')).toEqual([]);
    expect(pca.counts('IssueCertificate').maxPerSecond).toBeLessThanOrEqual(23);
  });

  it.each<[string, Fault]>([
    ['throttling', exception('ThrottlingException', 'Rate exceeded')],
    ['an internal error', exception('InternalFailure', '', 500)],
    ['a broken connection', 'reset'],
    ['an unreadable answer', { status: 200, headers: json, body: '{"CertificateArn":' }],
    ['a page of a proxy', { status: 503, headers: { 'content-type': 'text/html' }, body: '<html>' }],
    ['an answer that is not AWS', { status: 200, headers: json, body: '{"CertificateArn":"x"}' }],
  ])('to issue is at most three under lasting %s, and no certificate is lost', async (_name, fault) => {
    const bench = await startBench();
    bench.pca.fault = faultOf('IssueCertificate', fault);
    const request = await wish(bench.issuer);
    expect(await errorOf(bench.issuer.sign(request, live()))).toBeInstanceOf(CaError);
    expect(calls(bench.pca, 'IssueCertificate')).toBeLessThanOrEqual(3);
    bench.pca.fault = () => undefined;
    await bench.issuer.sign(request, live());
    expect(bench.pca.issuedCount).toBe(1);
  });

  it.each<[string, Fault]>([
    ['throttling', exception('ThrottlingException', 'Rate exceeded')],
    ['an internal error', exception('InternalFailure', '', 500)],
    ['a broken connection', 'reset'],
  ])('is one more, in the same words, when a single call meets %s', async (_name, fault) => {
    const bench = await startBench();
    bench.pca.fault = faultOf('IssueCertificate', fault, 1);
    await sign(bench);
    const issues = bench.pca.calls.filter(({ operation }) => operation === 'IssueCertificate');
    expect(issues).toHaveLength(2);
    expect(issues[0]?.body).toEqual(issues[1]?.body);
  });
});

describe('a certificate that is paid for', () => {
  it('is fetched by the next request when the first gave up while AWS worked on it', async () => {
    const bench = await startBench({ readyAfterMs: 300 });
    const request = await wish(bench.issuer);
    const caller = new AbortController();
    const reason = new Error('the caller hung up');
    const first = errorOf(bench.issuer.sign(request, { signal: caller.signal }));
    while (calls(bench.pca, 'GetCertificate') === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    caller.abort(reason);
    expect(await first).toBe(reason);
    const issued = await bench.issuer.sign({ ...request, requestId: 'another' }, live());
    expect(parseCertificate(issued.leaf).spkiDer).toEqual(request.spkiDer);
    expect([bench.pca.issuedCount, calls(bench.pca, 'IssueCertificate')]).toEqual([1, 1]);
  });

  it('is fetched when the answer to IssueCertificate was lost: AWS knows the token', async () => {
    const bench = await startBench();
    const request = await wish(bench.issuer);
    const gaveUp = new AbortController();
    bench.pca.fault = faultOf('IssueCertificate', 'hang', 1);
    const first = errorOf(bench.issuer.sign(request, { signal: gaveUp.signal }));
    while (calls(bench.pca, 'IssueCertificate') === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    gaveUp.abort(new Error('enough'));
    await first;
    await bench.issuer.sign({ ...request, requestId: 'another' }, live());
    const [lost, again] = bench.pca.calls.filter(({ operation }) => operation === 'IssueCertificate');
    expect(again?.body).toEqual(lost?.body);
  });

  it('is fetched after the right to fetch was given', async () => {
    const bench = await startBench();
    bench.pca.user.policies = allow('IssueCertificate');
    const request = await wish(bench.issuer);
    const denied = await errorOf(bench.issuer.sign(request, live()));
    expect(denied).toBeInstanceOf(IssuerDeniedError);
    expect(String(Object(denied).fix)).toContain('acm-pca:GetCertificate');
    bench.pca.user.policies = allow('IssueCertificate', 'GetCertificate');
    await bench.issuer.sign(request, live());
    expect(bench.pca.issuedCount).toBe(1);
  });

  it('is fetched later when AWS has not finished it in time', async () => {
    // Twenty seconds of waiting in a fifth of one.
    const monotonicMs = () => systemClock.monotonicMs() * 100;
    const sleep: typeof systemClock.sleep = (ms, signal) => systemClock.sleep(ms / 100, signal);
    const bench = await startBench({ readyAfterMs: 400 }, {}, { clock: { ...systemClock, monotonicMs, sleep } });
    const request = await wish(bench.issuer);
    const pending = await errorOf(bench.issuer.sign(request, live()));
    expect(pending).toBeInstanceOf(IssuancePendingError);
    expect(Object(pending).retryAfterMs).toBeGreaterThan(0);
    expect(calls(bench.pca, 'GetCertificate')).toBeLessThan(30);
    await bench.issuer.sign({ ...request, requestId: 'another' }, live());
    expect([bench.pca.issuedCount, calls(bench.pca, 'IssueCertificate')]).toEqual([1, 1]);
  });

  it('is told again to the same request, and not to who asks for a new one', async () => {
    const bench = await startBench();
    const request = await wish(bench.issuer);
    const [first, second] = [await bench.issuer.sign(request, live()), await bench.issuer.sign(request, live())];
    const forced = await bench.issuer.sign({ ...request, requestId: 'force' }, live());
    expect(second.leaf).toEqual(first.leaf);
    expect(forced.leaf).not.toEqual(first.leaf);
    expect(bench.pca.issuedCount).toBe(2);
  });

  it('that AWS could not make is asked for anew', async () => {
    const bench = await startBench();
    const request = await wish(bench.issuer);
    bench.pca.failIssuing = true;
    const failure = await errorOf(bench.issuer.sign(request, live()));
    expect(failure).toBeInstanceOf(IssuerUnavailableError);
    bench.pca.failIssuing = false;
    await bench.issuer.sign(request, live());
    expect(bench.pca.issuedCount).toBe(2);
  });

  it('that AWS has forgotten is asked for anew in the same call', async () => {
    const bench = await startBench();
    bench.pca.fault = faultOf('GetCertificate', exception('ResourceNotFoundException', 'Could not find it'), 2);
    await sign(bench);
    expect(calls(bench.pca, 'IssueCertificate')).toBe(2);
    expect(bench.pca.issuedCount).toBe(1);
  });
});

describe('what is asked for', () => {
  it('is the template of the partition with everything from the CSR, when there is no commonName', async () => {
    const bench = await startBench();
    await sign(bench);
    const issue = bench.pca.calls.find(({ operation }) => operation === 'IssueCertificate');
    expect(issue?.body).toMatchObject({ TemplateArn: 'arn:aws:acm-pca:::template/EndEntityCertificate/V1' });
    expect(issue?.body).not.toHaveProperty('ApiPassthrough');
    expect((await bench.issuer.abilities(live())).signsCsrAsIs).toBe(true);
  });

  it('is a passthrough of the names, when there is one: the CSR need not carry them', async () => {
    const options = { partition: 'aws-us-gov', region: 'us-gov-west-1' };
    const bench = await startBench(options, { commonName: '{{ tag "kuma.io/service" }}.mesh' });
    expect((await bench.issuer.abilities(live())).signsCsrAsIs).toBe(false);
    const issued = await sign(bench);
    const issue = bench.pca.calls.find(({ operation }) => operation === 'IssueCertificate');
    expect(issue?.body).toMatchObject({
      TemplateArn: 'arn:aws-us-gov:acm-pca:::template/EndEntityCertificate_APIPassthrough/V1',
      ApiPassthrough: { Subject: { CommonName: 'web.mesh' } },
    });
    expect(parseCertificate(issued.leaf)).toMatchObject({
      commonName: 'web.mesh',
      uriSans: ['spiffe://default/web', 'kuma://kuma.io/service/web'],
    });
  });

  it('is refused before AWS is asked when a name is longer than AWS takes', async () => {
    const bench = await startBench({}, { commonName: 'web' });
    const request = await wish(bench.issuer);
    const identity = { ...request.identity, uriSans: [`spiffe://default/${'x'.repeat(300)}`] };
    expect(await errorOf(bench.issuer.sign({ ...request, identity }, live()))).toBeInstanceOf(RequestInvalidError);
    expect(calls(bench.pca, 'IssueCertificate')).toBe(0);
  });

  it('is 90 minutes to the second when 90 minutes are wished for', async () => {
    expect(lifeSeconds(await sign(await startBench(), { ttlSeconds: 5400 }))).toBe(5410);
  });

  it('is cut by the end of the CA, and the answer tells it', async () => {
    const notAfter = new Date(Math.floor(Date.now() / 1000) * 1000 + 3600_000);
    const issued = await sign(await startBench({ ca: { notAfter } }), { ttlSeconds: 30 * DAY_SECONDS });
    expect(issued.notAfter).toEqual(notAfter);
  });

  it('is seven days at most of a CA in short-lived mode', async () => {
    const bench = await startBench({ ca: { usageMode: 'SHORT_LIVED_CERTIFICATE' } });
    expect(lifeSeconds(await sign(bench, { ttlSeconds: 30 * DAY_SECONDS }))).toBe(7 * DAY_SECONDS);
    expect(calls(bench.pca, 'IssueCertificate')).toBe(1);
  });

  it.each(['EC-P256', 'EC-P384', 'RSA-2048'] as const)(
    'is learnt from a %s CA that may not be read, within three calls',
    async (keyType) => {
      const bench = await startBench({ ca: { keyType, usageMode: 'SHORT_LIVED_CERTIFICATE' } });
      bench.pca.user.policies = allow('IssueCertificate', 'GetCertificate');
      const first = await sign(bench, { ttlSeconds: 30 * DAY_SECONDS });
      expect(lifeSeconds(first)).toBe(7 * DAY_SECONDS);
      const learning = calls(bench.pca, 'IssueCertificate');
      expect(learning).toBeLessThanOrEqual(3);
      await sign(bench, { ttlSeconds: 30 * DAY_SECONDS });
      expect(calls(bench.pca, 'IssueCertificate')).toBe(learning + 1);
      expect(bench.pca.issuedCount).toBe(2);
      const bundle = await bench.issuer.trustBundle(live());
      expect(bundle.roots).toEqual([bench.pca.ca.root]);
    },
  );

  it('follows a CA that was replaced by one with another kind of key, and so does the trust bundle', async () => {
    const bench = await startBench();
    await sign(bench);
    expect((await bench.issuer.trustBundle(live())).roots).toEqual([bench.pca.ca.root]);
    await bench.pca.ca.replace({ keyType: 'RSA-2048' });
    const issued = await sign(bench);
    expect(issued.roots).toEqual([bench.pca.ca.root]);
    expect((await bench.issuer.trustBundle(live())).roots).toEqual([bench.pca.ca.root]);
    expect(bench.pca.issuedCount).toBe(2);
  });
});

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
    [
      'a certificate ARN that is none',
      { status: 200, headers: json, body: '{}' },
      IssuerResponseError,
      /correct endpoint/,
    ],
  ];
  it.each(ISSUE)(
    '%s has its class and its fix, and names neither account nor principal',
    async (_name, fault, type, fix) => {
      const bench = await startBench();
      bench.pca.fault = faultOf('IssueCertificate', fault);
      const error = await errorOf(sign(bench));
      expect(error).toBeInstanceOf(type);
      const { message, fix: told = '', retryAfterMs } = Object(error);
      expect(told).toMatch(fix);
      expect(message).not.toMatch(/123456789012|bob|x-amz-security-token/);
      expect(message).toContain('IssueCertificate');
      if (type === RateLimitedError) expect(retryAfterMs).toBeGreaterThan(0);
      expect(calls(bench.pca, 'IssueCertificate')).toBeLessThanOrEqual(3);
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
    expect(calls(bench.pca, 'IssueCertificate')).toBe(0);
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
    expect(calls(bench.pca, 'GetCertificate')).toBeLessThanOrEqual(6);
  });
});

describe('the trust bundle', () => {
  it("is caCert's, without a call to AWS and without its credentials", async () => {
    const pca = await startFake();
    const deps = depsOf(pca);
    deps.stored.clear();
    const issuer = issuerOf(pca, deps, { caCert: { inlineString: encodePem('CERTIFICATE', pca.ca.root) } });
    expect(await issuer.trustBundle(live())).toEqual({ roots: [pca.ca.root], intermediates: [] });
    expect(pca.calls).toHaveLength(0);
  });

  it('is there for a CA that is disabled', async () => {
    const bench = await startBench();
    bench.pca.ca.state = 'DISABLED';
    expect((await bench.issuer.trustBundle(live())).roots).toEqual([bench.pca.ca.root]);
  });

  it('is read from AWS once, however often it is asked for', async () => {
    const bench = await startBench();
    for (let i = 0; i < 5; i += 1) await bench.issuer.trustBundle(live());
    expect(bench.pca.calls).toHaveLength(1);
  });

  it('tells the right that it takes, and how to go without', async () => {
    const bench = await startBench();
    bench.pca.user.policies = allow('IssueCertificate', 'GetCertificate');
    const error = await errorOf(bench.issuer.trustBundle(live()));
    expect(error).toBeInstanceOf(IssuerDeniedError);
    expect(Object(error).fix).toMatch(/GetCertificateAuthorityCertificate.*caCert/);
  });

  const BAD_CERTS: readonly [string, (pca: StrictAcmPca) => string, RegExp][] = [
    ['is empty', () => '', /is empty/],
    ['is no PEM', () => 'root', /no PEM block/],
    ['holds no root', (pca) => encodePem('CERTIFICATE', pca.ca.certificate), /no root certificate/],
  ];
  it.each(BAD_CERTS)('is a violation of caCert when that %s', async (_name, text, message) => {
    const pca = await startFake({ ca: { type: 'subordinate' } });
    const issuer = issuerOf(pca, depsOf(pca), { caCert: { inlineString: text(pca) } });
    for (const work of [issuer.trustBundle(live()), sign({ issuer })]) {
      const error = await errorOf(work);
      expect(error).toBeInstanceOf(ConfigError);
      expect(Object(error).violations).toMatchObject([{ field: 'caCert', message: expect.stringMatching(message) }]);
    }
    expect(pca.calls).toHaveLength(0);
  });
});

describe('an inspection', () => {
  const failing = (checks: readonly Check[]) => checks.filter(({ ok }) => !ok).map(({ name }) => name);
  const CASES: readonly [string, (pca: StrictAcmPca) => void, readonly string[]][] = [
    ['nothing when all is well', () => {}, []],
    [
      'nothing with the rights to issue alone',
      (pca) => {
        pca.user.policies = allow('IssueCertificate', 'GetCertificate');
      },
      [],
    ],
    [
      'a missing right to fetch',
      (pca) => {
        pca.user.policies = allow('IssueCertificate');
      },
      ['acmpca.get-permitted'],
    ],
    [
      'a key that AWS does not know',
      (pca) => {
        pca.user.isActive = false;
      },
      ['acmpca.credentials-accepted'],
    ],
    [
      'a CA that is disabled',
      (pca) => {
        pca.ca.state = 'DISABLED';
      },
      ['acmpca.ca-active'],
    ],
    [
      'clocks that are apart',
      (pca) => {
        pca.clockOffsetMs = 600_000;
      },
      ['acmpca.clock'],
    ],
    [
      'throttling',
      (pca) => {
        pca.throttleAll = true;
      },
      ['acmpca.address-reachable'],
    ],
    [
      'a page of a proxy',
      (pca) => {
        pca.fault = () => ({ status: 502, body: 'x' });
      },
      ['acmpca.address-reachable'],
    ],
  ];
  it.each(CASES)('finds %s', async (_name, spoil, expected) => {
    const bench = await startBench();
    spoil(bench.pca);
    const checks = await bench.issuer.inspect(live());
    expect(failing(checks)).toEqual(expected);
    for (const { ok, fix } of checks) if (!ok) expect(fix).toBeTruthy();
    expect(bench.pca.issuedCount).toBe(0);
  });

  it('finds that nobody is there', async () => {
    const bench = await startBench();
    await bench.pca.close();
    expect(failing(await bench.issuer.inspect(live()))).toEqual(['acmpca.address-reachable']);
  });

  it('finds a CA below another root than that of caCert, and one that ends soon', async () => {
    const pca = await startFake({ ca: { notAfter: new Date(Date.now() + DAY_SECONDS * 1000) } });
    const other = await pca.createCa();
    const issuer = issuerOf(pca, depsOf(pca), { caCert: { inlineString: encodePem('CERTIFICATE', other.root) } });
    expect(failing(await issuer.inspect(live()))).toEqual(['acmpca.root-known']);
    const life = (await issuerOf(pca, depsOf(pca)).inspect(live())).find(({ name }) => name === 'acmpca.ca-valid');
    expect(life).toMatchObject({ ok: true, fix: expect.stringContaining('renew the CA') });
  });

  it('finds credentials that are missing', async () => {
    const pca = await startFake();
    const deps = depsOf(pca);
    deps.stored.clear();
    expect(failing(await issuerOf(pca, deps).inspect(live()))).toEqual(['acmpca.credentials-loaded']);
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
    while (calls(bench.pca, 'GetCertificate') === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    await bench.issuer.close();
    expect(await work).toBeInstanceOf(IssuerUnavailableError);
    while (bench.pca.connections().open > 0) await new Promise((resolve) => setTimeout(resolve, 10));
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
    bench.pca.fault = faultOf('IssueCertificate', { status: 200, headers: json, body: 'x'.repeat(2 * 1024 * 1024) });
    expect(await errorOf(sign(bench))).toBeInstanceOf(IssuerResponseError);
  });
});
