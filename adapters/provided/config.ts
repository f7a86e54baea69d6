import { z } from 'zod';
import type { Violation } from '../../src/issuer/errors.ts';
import type { DataSource, IssuerContext } from '../../src/issuer/issuer.ts';
import { parseDataSource } from '../../src/mesh/data-source.ts';
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
  .object(
    { cert: z.unknown(), key: z.unknown() },
    { error: 'could not convert backend config: has to be an object' },
  )
  .nullish();

/**
 * Kuma's static rules and messages; those that need the data are in check-ca.ts.
 * @throws ConfigError with all violations
 */
export function parseConf(conf: unknown, context: IssuerContext): ProvidedConf {
  const parsed = schema.safeParse(conf);
  if (!parsed.success) {
    throw confError('provided', context, parsed.error.issues.map(({ message }) => ({ field: '', message })));
  }
  const violations: Violation[] = [];
  const read = (field: 'cert' | 'key'): DataSource | undefined => {
    const value = parsed.data?.[field];
    if (value !== undefined && value !== null) return parseDataSource(value, field, violations);
    violations.push({ field, message: 'has to be defined' });
    return undefined;
  };
  const [cert, key] = [read('cert'), read('key')];
  if (cert === undefined || key === undefined || violations.length > 0) throw confError('provided', context, violations);
  return { cert, key };
}
