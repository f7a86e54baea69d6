import { z } from 'zod';
import { ConfigError, type Violation } from '../../src/issuer/errors.ts';
import type { DataSource, IssuerContext } from '../../src/issuer/issuer.ts';
import { type CommonNameTemplate, parseCommonName } from '../../src/mesh/common-name.ts';
import { parseDataSource } from '../../src/mesh/data-source.ts';
import { readShape } from '../../src/mesh/violations.ts';
import { confError } from '../shared/conf-error.ts';

/** Complete and checked. */
export interface VaultConf {
  /** Where calls go: `agentAddress` where it is set, else `address`. Without a slash at its end. */
  readonly endpoint: string;
  /** The field that `endpoint` comes from, for messages. */
  readonly endpointField: 'fromCp.address' | 'fromCp.agentAddress';
  /** '' for the root namespace. */
  readonly namespace: string;
  /** Path of the PKI mount, without slashes at its ends. */
  readonly pki: string;
  readonly role: string;
  readonly commonName: CommonNameTemplate | undefined;
  readonly tls: {
    readonly caCert: DataSource | undefined;
    readonly skipVerify: boolean;
    /** '' for the endpoint's own host name. */
    readonly serverName: string;
  };
  readonly auth: { readonly token: DataSource };
}

const MAX_ADDRESS = 2048;
const MAX_PATH = 256;
const ADDRESS_FORM = 'has to be an http or https URL such as https://vault.example:8200';
const PATH_FORM = 'may hold letters, digits, "_", "-", "." and "/" between its parts, and no part "." or ".."';
const NAME_FORM = 'may hold letters, digits, "_", "-" and ".", and cannot be "." or ".."';
const HOST_FORM = 'has to be a host name such as vault.example';

const PATH_PART = /^(?!\.{1,2}$)[A-Za-z0-9_.-]+$/;
const HOST_NAME =
  /^(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*$/;

const address = z.string().transform((text, ctx) => {
  const endpoint = parseEndpoint(text);
  if (endpoint === undefined) ctx.addIssue(ADDRESS_FORM);
  return endpoint ?? '';
});

const path = z.string().transform((text, ctx) => {
  const trimmed = trimSlashes(text);
  if (trimmed.length > MAX_PATH) ctx.addIssue(`cannot be longer than ${MAX_PATH} characters`);
  else if (!trimmed.split('/').every((part) => PATH_PART.test(part))) ctx.addIssue(PATH_FORM);
  return trimmed;
});

const name = z.string().max(MAX_PATH).regex(PATH_PART, { error: NAME_FORM });

/** '' stands for a field that was left out, as in protobuf. */
const orEmpty = <S extends z.ZodType>(schema: S) => z.union([z.literal(''), schema]);

const commonName = z.string().transform((source, ctx) => {
  if (source === '') return undefined;
  try {
    return parseCommonName(source);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    ctx.addIssue(error.violations[0]?.message ?? error.message);
    return undefined;
  }
});

const dataSource = z.unknown().transform((value, ctx) => parseSource(value, ctx, []));

const auth = z.record(z.string(), z.unknown()).transform((given, ctx) => {
  const methods = ['token', 'tls', 'aws'].filter((method) => given[method] !== undefined && given[method] !== null);
  if (methods.length !== 1) {
    ctx.addIssue(
      `exactly one of token, tls, aws has to be set, got ${methods.length === 0 ? 'none' : methods.join(', ')}`,
    );
    return { token: undefined };
  }
  if (methods[0] !== 'token') {
    ctx.addIssue({ code: 'custom', path: [methods[0] ?? ''], message: 'is not available in this version: use token' });
    return { token: undefined };
  }
  return { token: parseSource(given.token, ctx, ['token']) };
});

/** Unknown fields are dropped, as Kuma drops them. */
const schema = z.object({
  fromCp: z.object({
    address,
    agentAddress: orEmpty(address).nullish(),
    namespace: orEmpty(path).nullish(),
    pki: path,
    role: name,
    commonName: commonName.nullish(),
    tls: z
      .object({
        caCert: dataSource.nullish(),
        skipVerify: z.boolean().nullish(),
        serverName: orEmpty(z.string().regex(HOST_NAME, { error: HOST_FORM })).nullish(),
      })
      .nullish(),
    auth,
  }),
});

/**
 * The conf of a vault backend, as the product documentation has it under `conf.fromCp`. `pki` and `role` have no defaults: the names that
 * releases before Kong Mesh 1.3.1 made up (`kuma-pki-<mesh>`, `dataplanes`) are not guessed.
 * @throws ConfigError with all violations
 */
export function parseConf(conf: unknown, context: IssuerContext): VaultConf {
  const violations: Violation[] = [];
  const fromCp = readShape(schema, conf, violations)?.fromCp;
  if (fromCp?.auth.token === undefined) throw confError('vault', context, violations);
  return {
    endpoint: fromCp.agentAddress || fromCp.address,
    endpointField: fromCp.agentAddress ? 'fromCp.agentAddress' : 'fromCp.address',
    namespace: fromCp.namespace ?? '',
    pki: fromCp.pki,
    role: fromCp.role,
    commonName: fromCp.commonName ?? undefined,
    tls: {
      caCert: fromCp.tls?.caCert ?? undefined,
      skipVerify: fromCp.tls?.skipVerify ?? false,
      serverName: fromCp.tls?.serverName ?? '',
    },
    auth: { token: fromCp.auth.token },
  };
}

function parseSource(value: unknown, ctx: z.RefinementCtx, path: readonly string[]): DataSource | undefined {
  const violations: Violation[] = [];
  const source = parseDataSource(value, '', violations);
  for (const { field, message } of violations) {
    ctx.addIssue({ code: 'custom', path: [...path, ...field.split('.').filter((part) => part !== '')], message });
  }
  return source;
}

function parseEndpoint(text: string): string | undefined {
  if (text.length > MAX_ADDRESS || !URL.canParse(text)) return undefined;
  const url = new URL(text);
  const isPlain = url.username === '' && url.password === '' && url.search === '' && url.hash === '';
  if (!isPlain || (url.protocol !== 'http:' && url.protocol !== 'https:')) return undefined;
  return url.href.replace(/\/+$/, '');
}

function trimSlashes(text: string): string {
  return text.replace(/^\/+|\/+$/g, '');
}
