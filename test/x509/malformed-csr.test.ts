import { describe, expect, it } from 'vitest';
import { parseCsr, verifyCsrSignature, verifyCsrSignatureAsync } from '../../src/x509/csr.ts';
import { X509Error } from '../../src/x509/x509-error.ts';
import { buildCsr, MALFORMED_CSRS } from './malformed-csr.ts';

/** The rule that refuses a request; undefined when it is accepted and its signature holds. */
async function refusalOf(der: Buffer): Promise<string | undefined> {
  try {
    const sync = verifyCsrSignature(parseCsr(der));
    const quick = await verifyCsrSignatureAsync(parseCsr(der));
    expect(quick).toBe(sync);
    return sync ? undefined : 'signature';
  } catch (error) {
    if (error instanceof X509Error) return error.rule;
    throw error;
  }
}

describe('a malformed request', () => {
  it('comes from a builder whose unchanged request is accepted', async () => {
    expect(await refusalOf(buildCsr())).toBeUndefined();
    expect(await refusalOf(buildCsr({ key: 'RSA-2048' }))).toBeUndefined();
  });

  it.each(MALFORMED_CSRS)('is refused: $name ($rule)', async ({ build, rule }) => {
    expect(await refusalOf(build())).toBe(rule);
  });

  it('has a name of its own in the table', () => {
    expect(new Set(MALFORMED_CSRS.map(({ name }) => name)).size).toBe(MALFORMED_CSRS.length);
  });
});
