import type http from 'node:http';
import { GROUP_VERSION } from './certificate-request.ts';
import { matcherOf, versionOf } from './request-handlers.ts';
import type { Change, RequestStore } from './request-store.ts';
import type { Route } from './routes.ts';
import type { Matcher } from './selectors.ts';
import { StatusError, tooOld } from './status.ts';
import type { ClusterUser } from './test-cluster.ts';

export interface OpenWatch {
  readonly user: ClusterUser;
  /** Ends the stream as a time-out does; `error` is told first, as an ERROR event. */
  end(error?: StatusError): void;
  /** Ends its connection by a TCP reset. */
  reset(): void;
}

export interface WatchOptions {
  readonly store: RequestStore;
  readonly route: Route;
  readonly query: URLSearchParams;
  readonly user: ClusterUser;
  readonly response: http.ServerResponse;
  readonly bookmarkIntervalMs: number;
  readonly onEnd: () => void;
  readonly reset: () => void;
}

/** A real server ends a watch after 30 to 60 minutes where the client names no time. */
const DEFAULT_TIMEOUT_SECONDS = 1800;

/**
 * Streams changes: from the version that is asked for, or, without one, first everything there is. A version that is forgotten is told by an
 * ERROR event of code 410 in an answer of 200, as real servers do.
 * A version that has not come yet is waited for.
 * @throws StatusError 400 for what cannot be read
 */
export function startWatch(options: WatchOptions): OpenWatch {
  const { store, route, query, user, response } = options;
  const matches = matcherOf(route.namespace, query);
  const asked = versionOf(query);
  response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-cache, private' });
  response.flushHeaders();
  response.socket?.setNoDelay(true);

  const write = (type: string, json: string) => void response.write(`{"type":"${type}","object":${json}}\n`);
  const bookmark = () => write('BOOKMARK', bookmarkAt(store.version));
  const wantsBookmarks = query.get('allowWatchBookmarks') === 'true';
  const timeoutSeconds = Number(query.get('timeoutSeconds') ?? 0) || DEFAULT_TIMEOUT_SECONDS;
  let unfollow = () => {};
  let isOver = false;
  const finish = () => {
    if (isOver) return;
    isOver = true;
    unfollow();
    clearTimeout(timeout);
    clearInterval(bookmarks);
    options.onEnd();
  };
  const end = (error?: StatusError) => {
    if (error !== undefined) write('ERROR', JSON.stringify(error.body));
    finish();
    response.end();
  };
  const timeout = setTimeout(() => {
    if (wantsBookmarks) bookmark();
    end();
  }, timeoutSeconds * 1000);
  const bookmarks = wantsBookmarks ? setInterval(bookmark, options.bookmarkIntervalMs) : undefined;
  response.once('close', finish);

  const tell = (change: Change) => {
    const type = typeFor(change, matches);
    if (type !== undefined) write(type, change.json);
  };
  if (asked === 0) {
    for (const object of store.list(route.namespace)) {
      if (matches(object.metadata)) write('ADDED', JSON.stringify(object));
    }
  }
  try {
    unfollow = store.follow(asked === 0 ? store.version : asked, tell);
  } catch (error) {
    end(error instanceof StatusError ? error : tooOld(asked, store.version));
  }
  const reset = () => {
    finish();
    options.reset();
  };
  return { user, end, reset };
}

/** A change as a watch with a selector sees it: what leaves the selection is deleted, what enters it is added. */
function typeFor({ type, object, before }: Change, matches: Matcher): Change['type'] | undefined {
  const is = matches(object.metadata);
  const was = before !== undefined && matches(before.metadata);
  if (type !== 'MODIFIED') return is ? type : undefined;
  if (is) return was ? 'MODIFIED' : 'ADDED';
  return was ? 'DELETED' : undefined;
}

function bookmarkAt(version: number): string {
  return JSON.stringify({
    kind: 'CertificateRequest',
    apiVersion: GROUP_VERSION,
    metadata: { creationTimestamp: null, resourceVersion: String(version) },
  });
}
