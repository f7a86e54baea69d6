import type { Failure } from './failure.ts';
import * as replies from './replies.ts';

/** What one line of a watch says. */
export type WatchNews =
  /** `version`: where a watch can go on from; undefined: as before. */
  | { readonly kind: 'changed'; readonly request: replies.CertificateRequest; readonly version: string | undefined }
  | { readonly kind: 'deleted'; readonly name: string; readonly version: string | undefined }
  | { readonly kind: 'bookmark'; readonly version: string | undefined }
  /** An object that is no CertificateRequest as we know them. */
  | { readonly kind: 'unreadable' }
  /** The watch is over; `mustList`: begin with a list. */
  | { readonly kind: 'over'; readonly failure: Failure; readonly mustList: boolean };

/** Pure. Never throws, whatever the line is. */
export function readWatchLine(line: string): WatchNews {
  const event = replies.watchEvent.safeParse(parseJson(line));
  // Perhaps no API server at all: a list finds out.
  if (!event.success) return { kind: 'over', failure: malformedWatch(), mustList: true };
  const { type, object } = event.data;
  if (type === 'BOOKMARK') {
    return { kind: 'bookmark', version: replies.bookmark.safeParse(object).data?.metadata.resourceVersion };
  }
  if (type === 'ERROR') {
    const isExpired = replies.statusBody.safeParse(object).data?.code === 410;
    // Expired: nothing is wrong, the history that a watch can go on from is short.
    const kind = isExpired ? 'expired' : 'server';
    const failure: Failure = { ...malformedWatch(), kind, message: 'the watch was ended by the server' };
    return { kind: 'over', failure, mustList: isExpired };
  }
  const request = replies.certificateRequest.safeParse(object);
  if (!request.success) return { kind: 'unreadable' };
  const { name, resourceVersion } = request.data.metadata;
  const version = resourceVersion ?? undefined;
  return type === 'DELETED' ? { kind: 'deleted', name, version } : { kind: 'changed', request: request.data, version };
}

export function brokenWatch(cause: unknown): Failure {
  return {
    kind: 'broken',
    message: 'the watch of CertificateRequests broke',
    fix: 'look at the API server and at what stands between it and mesh-ca',
    cause,
  };
}

function malformedWatch(): Failure {
  return {
    ...brokenWatch(undefined),
    kind: 'malformed',
    message: 'the watch of CertificateRequests told something unreadable',
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
