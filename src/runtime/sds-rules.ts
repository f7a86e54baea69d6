import { isIPv4 } from 'node:net';
import type { Settings } from './settings-table.ts';

export type SdsAccess = Pick<Settings, 'sdsHost' | 'sdsAuth' | 'apiTlsCertFile' | 'apiTlsKeyFile'>;

/** Settings of the Secret Discovery Service that are right each, and wrong together. */
export interface SdsMistake {
  /** The one to blame. */
  readonly key: 'sdsHost' | 'sdsAuth';
  /** Follows the name of the setting. */
  readonly message: string;
  readonly fix: string;
}

const WITH_TLS = 'set apiTlsCertFile and apiTlsKeyFile (MESH_CA_API_TLS_CERT_FILE, MESH_CA_API_TLS_KEY_FILE)';

/** Why keys would be put on the wire in clear, or given to anybody; undefined: they would not. */
export function sdsMistake({ sdsHost, sdsAuth, apiTlsCertFile, apiTlsKeyFile }: SdsAccess): SdsMistake | undefined {
  if (sdsAuth === 'none' && !isLoopback(sdsHost)) {
    return {
      key: 'sdsAuth',
      message: `none gives keys to whoever reaches ${sdsHost}, which is no loopback address`,
      fix: 'use sdsAuth token or mtls (MESH_CA_SDS_AUTH=token), or sdsHost 127.0.0.1',
    };
  }
  if (apiTlsCertFile !== undefined && apiTlsKeyFile !== undefined) return undefined;
  if (sdsAuth === 'mtls') return { key: 'sdsAuth', message: 'mtls needs a server certificate', fix: WITH_TLS };
  if (isLoopback(sdsHost)) return undefined;
  return {
    key: 'sdsHost',
    message: `${sdsHost} is no loopback address, and keys do not go over a network in clear`,
    fix: `${WITH_TLS}, or use sdsHost 127.0.0.1`,
  };
}

/** A name counts only if it cannot be another host. */
function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'));
}
