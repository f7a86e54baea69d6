import { isIP } from 'node:net';
import { resolve } from 'node:path';
import { InvalidArgumentError } from 'commander';
import { usage } from '../client-options.ts';
import { readFileText } from '../read-file-text.ts';
import type { SdsServer } from './sds.ts';
import type { Endpoint } from './wire.ts';

export interface SdsOptions {
  readonly sdsAddress: Endpoint;
  readonly sdsAuth: 'token' | 'mtls' | 'none';
  readonly sdsCaFile?: string;
  readonly sdsCertFile?: string;
  readonly sdsKeyFile?: string;
  readonly sdsDelta?: boolean;
  readonly identityName: string;
  readonly trustName: string;
  readonly dataplaneTokenFile?: string;
  readonly inlineToken?: boolean;
  readonly write?: string;
}

const MAX_TOKEN_BYTES = 64 * 1024;

/** @throws InvalidArgumentError, as commander wants it */
export function readPort(text: string): number {
  const port = /^[0-9]{1,5}$/.test(text) ? Number(text) : -1;
  if (port >= 0 && port <= 65_535) return port;
  throw new InvalidArgumentError('write a whole number from 0 to 65535.');
}

/** `host:port`, `192.0.2.1:8080`, `[::1]:8080`. */
export function readEndpoint(text: string): Endpoint {
  const [, bracketed, plain, port] =
    /^(?:\[([0-9a-fA-F:.]{2,45})\]|([A-Za-z0-9._-]{1,253})):([0-9]{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain ?? '';
  const isHost = bracketed === undefined ? host !== '' : isIP(bracketed) === 6;
  if (isHost && port !== undefined && Number(port) >= 1) return { host, port: readPort(port) };
  throw new InvalidArgumentError('write it as HOST:PORT, such as 127.0.0.1:5678 or [::1]:5678.');
}

/** @throws CliError when what is needed to be believed by mesh-ca, or to believe it, is missing */
export async function readSds(
  options: SdsOptions,
  { mesh, dataplane, tags }: { mesh: string; dataplane: string; tags: Readonly<Record<string, readonly string[]>> },
): Promise<SdsServer> {
  const { sdsAddress, sdsAuth, sdsCaFile, sdsCertFile, sdsKeyFile, dataplaneTokenFile } = options;
  if (sdsCaFile === undefined && (sdsAuth === 'mtls' || !isLoopback(sdsAddress.host))) {
    throw usage(
      sdsAuth === 'mtls'
        ? '--sds-auth mtls needs TLS, so the CA of its certificate'
        : `${sdsAddress.host} is not this machine, and only this machine is trusted without TLS`,
      'name the PEM file of the CA of the certificate of mesh-ca: --sds-ca-file FILE',
    );
  }
  const server: SdsServer = {
    ...sdsAddress,
    identityName: options.identityName,
    trustName: options.trustName,
    ...(options.sdsDelta ? { delta: true } : {}),
    ...(sdsCaFile === undefined ? {} : { caFile: resolve(sdsCaFile) }),
  };
  if (sdsAuth === 'none') return server;
  if (sdsAuth === 'mtls') {
    if (sdsCertFile === undefined || sdsKeyFile === undefined)
      throw usage(
        '--sds-auth mtls needs a certificate and its key',
        `mesh-ca issue ${dataplane} -m ${mesh}, then --sds-cert-file ${dataplane}.chain.crt --sds-key-file ${dataplane}.key`,
      );
    return { ...server, client: { certificateFile: resolve(sdsCertFile), keyFile: resolve(sdsKeyFile) } };
  }
  if (dataplaneTokenFile === undefined) {
    // Tags that no Dataplane resource tells are believed when the token names them.
    const named = Object.entries(tags).map(([tag, values]) => ` --tag ${tag}=${values.join(',')}`);
    throw usage(
      'a data plane token is needed to be believed by mesh-ca',
      `mesh-ca generate dataplane-token -m ${mesh} --name ${dataplane}${named.join('')} --valid-for 720h --write ${dataplane}.token, then --dataplane-token-file ${dataplane}.token`,
    );
  }
  return { ...server, token: await readToken(dataplaneTokenFile, options) };
}

async function readToken(file: string, { inlineToken, write }: SdsOptions): Promise<NonNullable<SdsServer['token']>> {
  if (!inlineToken) return { file: resolve(file) };
  if (write === undefined)
    throw usage('--inline-token makes the bootstrap a secret', 'let it be written with mode 0600: --write FILE');
  const token = (await readFileText(file, MAX_TOKEN_BYTES, 'the data plane token')).trim();
  if (/^[\w.-]+$/.test(token)) return { inline: token };
  throw usage(
    `${file} does not hold a data plane token`,
    'mesh-ca generate dataplane-token --help tells how to make one',
  );
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}
