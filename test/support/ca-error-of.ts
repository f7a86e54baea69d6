import { expect } from 'vitest';
import { CaError } from '../../src/issuer/errors.ts';

/** The error of ours that a promise has to reject with. */
export async function caErrorOf(work: Promise<unknown>): Promise<CaError> {
  const error = await work.then(
    () => undefined,
    (cause: unknown) => cause,
  );
  expect(error).toBeInstanceOf(CaError);
  return error as CaError;
}
