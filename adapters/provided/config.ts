import { z } from 'zod';
import type { Violation } from '../../src/issuer/errors.ts';
import type { DataSource, IssuerContext } from '../../src/issuer/issuer.ts';
import { parseDataSource } from '../../src/mesh/data-source.ts';
import { readShape } from '../../src/mesh/violations.ts';
import { confError } from '../shared/conf-error.ts';

/** Complete and checked, as far as that is possible without loading what it names. */
export interface ProvidedConf {
  /** PEM: the certificate that signs first, each one's issuer after it, the self-signed root last. */
  readonly cert: DataSource;
  /** PEM: private key of the first certificate. */
  readonly key: DataSource;
}

/** Unknown fields are dropped, as Kuma drops them. */
const schema = z
  .object({ cert: z.unknown(), key: z.unknown() }, { error: 'could not convert backend config: has to be an object' })
  .nullish();

/**
 * Kuma's static rules and messages; those that need the data are in check-ca.ts.
 * @throws ConfigError with all violations
 */
export function parseConf(conf: unknown, context: IssuerContext): ProvidedConf {
  const violations: Violation[] = [];
  const shape = readShape(schema, conf, violations);
  if (violations.length > 0) throw confError('provided', context, violations);
  const cert = parseDataSource(shape?.cert, 'cert', violations);
  const key = parseDataSource(shape?.key, 'key', violations);
  if (cert === undefined || key === undefined) throw confError('provided', context, violations);
  return { cert, key };
}
