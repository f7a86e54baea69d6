import { describe, expect, it } from 'vitest';
import type { Proof } from '../../src/validation/proof.ts';
import { readProofBody, writeProofBody } from '../../src/validation/proof-body.ts';

const PROOF: Proof = {
  mesh: 'default',
  backend: 'ca-1',
  type: 'builtin',
  backendHash: 'abc',
  ok: true,
  retry: false,
  provenAt: new Date('2026-09-01T12:00:00.000Z'),
  durationMs: 12,
  checks: [],
  rootExpiresAt: new Date('2036-09-01T12:00:00.000Z'),
};

describe('what is stored of a proof', () => {
  it('is read as it was, without the roots, which stand in the trust bundle', () => {
    const body = writeProofBody({ ...PROOF, roots: [Buffer.from('a root')] });
    expect(JSON.parse(body)).not.toHaveProperty('roots');
    expect(readProofBody({ mesh: 'default', name: 'ca-1', body })).toEqual(PROOF);
  });
});
