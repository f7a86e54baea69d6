import { expect, it } from 'vitest';
import { KEY_TYPES } from '../../src/issuer/issuer.ts';
import { CURVES, RSA_SIZES } from '../../src/x509/key-types.ts';

it('the contract and the X.509 room name the same key types, though neither imports the other', () => {
  expect([...CURVES.map(({ type }) => type), ...RSA_SIZES.values()].sort()).toEqual([...KEY_TYPES].sort());
});
