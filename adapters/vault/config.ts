import { z } from 'zod';
import type { Violation } from '../../src/issuer/errors.ts';
import type { DataSource, IssuerContext } from '../../src/issuer/issuer.ts';
import type { CommonNameTemplate } from '../../src/mesh/common-name.ts';
import { readShape } from '../../src/mesh/violations.ts';
import { confError } from '../shared/conf-error.ts';
import { commonName, dataSource, optional } from '../shared/conf-fields.ts';
import { type AuthConf, authShape } from './auth/auth-conf.ts';
import { address, hostName, name, path } from './conf-fields.ts';

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
  readonly auth: AuthConf;
}

/** Unknown fields are dropped, as Kuma drops them. */
const schema = z.object({
  fromCp: z.object({
    address,
    agentAddress: optional(address),
    namespace: optional(path),
    pki: path,
    role: name,
    commonName,
    tls: z
      .object({ caCert: dataSource.nullish(), skipVerify: z.boolean().nullish(), serverName: optional(hostName) })
      .nullish(),
    auth: authShape,
  }),
});

/** What decides whether a client certificate can be shown, read on its own: other mistakes do not hide this one. */
const plainHttpSchema = z.object({
  fromCp: z.object({
    address: address.catch(''),
    agentAddress: optional(address).catch(''),
    // Without certificate and key it is something else: reading `auth` tells what.
    auth: z.object({ tls: z.object({ clientCert: z.unknown(), clientKey: z.unknown() }) }),
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
  violations.push(...plainHttpViolations(conf));
  if (fromCp?.auth === undefined || violations.length > 0) throw confError('vault', context, violations);
  return {
    endpoint: fromCp.agentAddress || fromCp.address,
    endpointField: fromCp.agentAddress ? 'fromCp.agentAddress' : 'fromCp.address',
    namespace: fromCp.namespace,
    pki: fromCp.pki,
    role: fromCp.role,
    commonName: fromCp.commonName ?? undefined,
    tls: {
      caCert: fromCp.tls?.caCert ?? undefined,
      skipVerify: fromCp.tls?.skipVerify ?? false,
      serverName: fromCp.tls?.serverName ?? '',
    },
    auth: fromCp.auth,
  };
}

function plainHttpViolations(conf: unknown): readonly Violation[] {
  const fromCp = plainHttpSchema.safeParse(conf).data?.fromCp;
  if (fromCp === undefined || (fromCp.auth.tls.clientCert ?? fromCp.auth.tls.clientKey) === undefined) return [];
  const field = fromCp.agentAddress ? 'agentAddress' : 'address';
  if (!fromCp[field].startsWith('http:')) return [];
  return [
    {
      field: 'fromCp.auth.tls',
      message: `needs TLS to show its certificate: fromCp.${field} has to begin with https:`,
    },
  ];
}
