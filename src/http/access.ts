import { hash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { AccessDeniedError, UnauthenticatedError } from '../issuer/errors.ts';

/**
 * `anyone`: credentials are not even looked at. `known`: anyone, but who it is has to be known. `admin`: localhost (unless switched off) or
 * the admin token.
 */
export type Access = 'anyone' | 'known' | 'admin';

/** What of a route decides who may use it. */
export interface Guarded {
  readonly access: Access;
  readonly resourceType?: string;
}

/** Kuma's names for who asks. */
export interface Caller {
  readonly name: 'mesh-system:admin' | 'mesh-system:anonymous';
  readonly groups: readonly string[];
}

const ADMIN: Caller = { name: 'mesh-system:admin', groups: ['mesh-system:admin'] };
const ANONYMOUS: Caller = { name: 'mesh-system:anonymous', groups: ['mesh-system:unauthenticated'] };

export interface AccessOptions {
  readonly localhostIsAdmin: boolean;
  /** Bearer token of the admin; undefined: no token is known. */
  readonly apiToken: string | undefined;
}

/** A proxy that set one of these speaks for somebody else: Kuma's three, and what other proxies set. */
const FORWARDED = [
  'forwarded',
  'x-forwarded-for',
  'x-real-ip',
  'via',
  'x-forwarded-host',
  'x-forwarded-proto',
  'x-envoy-external-address',
  'x-envoy-internal',
] as const;

/** Decides who asks and what they may do. */
export function createAccess(options: AccessOptions): (request: IncomingMessage, route: Guarded) => Caller {
  const token = options.apiToken === undefined ? undefined : hash('sha256', options.apiToken, 'buffer');
  const callerOf = (request: IncomingMessage): Caller => {
    if (options.localhostIsAdmin && isLocalhost(request)) return ADMIN;
    const { authorization } = request.headers;
    if (authorization === undefined) return ANONYMOUS;
    const sent = /^Bearer ([\x21-\x7e]{1,4096})$/i.exec(authorization)?.[1];
    // Hashes are compared, so that neither length nor content of the token shows in the time it takes.
    if (token !== undefined && sent !== undefined && timingSafeEqual(hash('sha256', sent, 'buffer'), token))
      return ADMIN;
    throw new UnauthenticatedError('Unauthenticated', {
      fix:
        token === undefined
          ? 'start mesh-ca with MESH_CA_API_TOKEN_FILE, and send that token'
          : 'send the token of MESH_CA_API_TOKEN_FILE',
    });
  };
  return (request, { access, resourceType }) => {
    if (access === 'anyone') return ANONYMOUS;
    const caller = callerOf(request);
    if (caller === ADMIN || access === 'known') return caller;
    const what = resourceType === undefined ? 'this resource' : `the resource of type "${resourceType}"`;
    throw new AccessDeniedError(`user "${caller.name}/${caller.groups.join(',')}" cannot access ${what}`, {
      fix: 'ask from localhost, or send "Authorization: Bearer <token of MESH_CA_API_TOKEN_FILE>"',
    });
  };
}

/**
 * Kuma's rule for `localhostIsAdmin`: peer and Host are loopback, nobody forwards, and no foreign page of a browser asks (the Host check
 * stops DNS rebinding, the other two stop cross-site requests).
 */
function isLocalhost({ socket, headers }: IncomingMessage): boolean {
  if (!isLoopback(socket.remoteAddress ?? '')) return false;
  const host = headers.host ?? '';
  if (!isLoopback(hostname(host))) return false;
  if (FORWARDED.some((name) => headers[name] !== undefined)) return false;
  const site = headers['sec-fetch-site'];
  if (site !== undefined && site !== 'same-origin' && site !== 'none') return false;
  const { origin } = headers;
  return origin === undefined || origin === `http://${host}` || origin === `https://${host}`;
}

function hostname(host: string): string {
  return host.startsWith('[') ? host.slice(1, host.indexOf(']')) : (host.split(':', 1)[0] ?? '');
}

function isLoopback(address: string): boolean {
  const plain = address.startsWith('::ffff:') ? address.slice(7) : address;
  return plain === 'localhost' || plain === '::1' || (isIP(plain) === 4 && plain.startsWith('127.'));
}
