import { ConfigError } from '../../src/issuer/errors.ts';
import { parseServerUrl } from '../shared/conf-fields.ts';
import type { AcmPcaConf } from './config.ts';

/** The variables of AWS's own tools, the first that is set. What the SDK would find by itself (`endpoint_url` of a profile) does not count. */
const VARIABLES = ['AWS_ENDPOINT_URL_ACM_PCA', 'AWS_ENDPOINT_URL'] as const;

export interface Endpoint {
  /** Undefined: AWS's own for the region. */
  readonly url: string | undefined;
  /** Where it was said, for messages. */
  readonly from: 'endpoint' | (typeof VARIABLES)[number] | 'region';
}

/**
 * Where calls go: the conf's `endpoint`, else the environment (not where `AWS_IGNORE_CONFIGURED_ENDPOINT_URLS` is true), else AWS's own.
 * @throws ConfigError when the variable holds no URL
 */
export function findEndpoint(conf: AcmPcaConf, env: Readonly<Record<string, string | undefined>>): Endpoint {
  if (conf.endpoint !== undefined) return { url: conf.endpoint, from: 'endpoint' };
  if (env.AWS_IGNORE_CONFIGURED_ENDPOINT_URLS?.toLowerCase() === 'true') return { url: undefined, from: 'region' };
  const variable = VARIABLES.find((name) => (env[name] ?? '') !== '');
  if (variable === undefined) return { url: undefined, from: 'region' };
  const url = parseServerUrl(env[variable] ?? '');
  if (url === undefined) {
    const message = `the environment variable ${variable} holds no http or https URL`;
    throw new ConfigError(message, {
      fix: `correct ${variable}, or set endpoint`,
      violations: [{ field: 'endpoint', message }],
    });
  }
  return { url, from: variable };
}
