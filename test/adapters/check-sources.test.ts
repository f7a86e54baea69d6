import { describe, expect, it } from 'vitest';
import {
  certificatesProblem,
  checkSources,
  type NamedSource,
  privateKeyProblem,
  wordProblem,
} from '../../adapters/shared/check-sources.ts';
import { live } from '../conformance/issuer.ts';
import { createTestDeps } from '../conformance/issuer-deps.ts';
import { makeCa } from '../conformance/make-ca.ts';

const { certPem, keyPem } = await makeCa({ name: 'a CA' });
const secret = (field: string, name: string, problem: NamedSource['problem']): NamedSource => ({
  field,
  source: { kind: 'secret', secret: name },
  problem,
  isSecret: true,
});

describe('the check of data sources', () => {
  it('finds nothing wrong where everything is as it should be', async () => {
    const deps = createTestDeps({ secrets: { token: 'hvs.abc\n', ca: certPem, key: keyPem } });
    const sources = [
      secret('token', 'token', wordProblem),
      secret('tls.caCert', 'ca', certificatesProblem),
      secret('tls.key', 'key', privateKeyProblem),
    ];
    expect(await checkSources(sources, deps.load, live())).toEqual({ violations: [], warnings: [] });
  });

  it('tells every mistake of every field, without repeating what is in it', async () => {
    const broken = certPem.replace('MII', 'MIX');
    const deps = createTestDeps({
      secrets: { empty: '', two: 'word word', 'no-pem': 'hello', broken, 'wrong-kind': keyPem, cert: certPem },
    });
    const { violations, fix } = await checkSources(
      [
        secret('a', 'missing', wordProblem),
        secret('b', 'empty', wordProblem),
        secret('c', 'two', wordProblem),
        secret('d', 'no-pem', certificatesProblem),
        secret('e', 'broken', certificatesProblem),
        secret('f', 'wrong-kind', certificatesProblem),
        secret('g', 'cert', privateKeyProblem),
      ],
      deps.load,
      live(),
    );
    expect(violations).toEqual([
      { field: 'a', message: 'could not load data: resource not found: type="Secret" name="missing" mesh="default"' },
      { field: 'b', message: 'is empty' },
      { field: 'c', message: 'has to be one word of printable ASCII, of at most 8192 characters' },
      { field: 'd', message: 'holds no PEM block CERTIFICATE' },
      { field: 'e', message: 'holds no PEM certificate that can be read' },
      { field: 'f', message: 'holds no PEM block CERTIFICATE' },
      { field: 'g', message: 'holds no PEM private key that can be read' },
    ]);
    expect(fix).toBe('put the data there first');
  });

  it('warns of a secret that stands in the Mesh itself', async () => {
    const inline: NamedSource = {
      ...secret('auth.token', '', wordProblem),
      source: { kind: 'inline', inline: Buffer.from('hvs.abc') },
    };
    const { violations, warnings } = await checkSources([inline], createTestDeps().load, live());
    expect([violations, warnings]).toEqual([
      [],
      ['auth.token: an inline value can be read by everybody who may read the Mesh; use a secret'],
    ]);
  });
});
