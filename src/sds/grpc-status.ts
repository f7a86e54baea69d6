import { Metadata, status } from '@grpc/grpc-js';
import { CaError, type ErrorCode } from '../issuer/errors.ts';

/** The gRPC status of each code that can end a stream, or refuse one. */
const STATUS_OF: Readonly<Record<ErrorCode, status>> = {
  ERR_CONFIG_INVALID: status.FAILED_PRECONDITION,
  ERR_BACKEND_INVALID: status.FAILED_PRECONDITION,
  ERR_ROTATION_NOT_READY: status.FAILED_PRECONDITION,
  ERR_REQUEST_INVALID: status.INVALID_ARGUMENT,
  ERR_POLICY_DENIED: status.PERMISSION_DENIED,
  ERR_NOT_FOUND: status.NOT_FOUND,
  ERR_CONFLICT: status.ABORTED,
  ERR_NOT_SUPPORTED: status.UNIMPLEMENTED,
  ERR_ISSUANCE_PENDING: status.UNAVAILABLE,
  ERR_ISSUER_RATE_LIMITED: status.UNAVAILABLE,
  ERR_ISSUER_UNAVAILABLE: status.UNAVAILABLE,
  ERR_ISSUER_DENIED: status.UNAVAILABLE,
  ERR_ISSUER_RESPONSE: status.UNAVAILABLE,
  ERR_STORE_UNAVAILABLE: status.UNAVAILABLE,
  ERR_UNAUTHENTICATED: status.UNAUTHENTICATED,
  ERR_ACCESS_DENIED: status.PERMISSION_DENIED,
  ERR_TOO_LARGE: status.RESOURCE_EXHAUSTED,
  ERR_INTERNAL: status.INTERNAL,
};

export interface StreamStatus {
  readonly code: status;
  readonly details: string;
  readonly metadata: Metadata;
}

/** What a proxy is told: message and fix of our own errors, nothing of others. */
export function statusOf(error: unknown): StreamStatus {
  if (!(error instanceof CaError)) return withMessage(status.INTERNAL, 'internal error');
  return withMessage(STATUS_OF[error.code], error.fix === undefined ? error.message : `${error.message}; ${error.fix}`);
}

/** grpc-js would encode blanks and quotes, too, and Envoy logs the header as it is. */
function withMessage(code: status, details: string): StreamStatus {
  const metadata = new Metadata();
  metadata.set('grpc-message', encodeMessage(details));
  return { code, details, metadata };
}

/** `Percent-Encoded` of gRPC over HTTP/2: bytes of UTF-8 that are no printable ASCII, and `%`. */
export function encodeMessage(text: string): string {
  return [...Buffer.from(text, 'utf8')]
    .map((byte) =>
      byte >= 0x20 && byte <= 0x7e && byte !== 0x25
        ? String.fromCharCode(byte)
        : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`,
    )
    .join('');
}
