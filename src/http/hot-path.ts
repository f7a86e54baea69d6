import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Route } from './route.ts';
import type { Serve } from './serve-route.ts';

/** Only plain names: what needs decoding takes the road through Express. */
const NAME = '([A-Za-z0-9._-]{1,253})';

/**
 * Serves the few routes that are asked thousands of times a second in front of Express, which alone costs more than signing does
 * (docs/decisions/hot-path.md). Everything after the routing is the same code.
 * @param serve serves a route; never rejects
 * @returns true when the request is taken
 */
export function createHotPath(
  routes: readonly Route[],
  serve: Serve,
): (request: IncomingMessage, response: ServerResponse) => boolean {
  const hot = routes
    .filter((route) => route.hot === true)
    .map((route) => ({
      method: route.method,
      serve: serve(route),
      pattern: new RegExp(`^${route.path.replaceAll('.', '\\.').replaceAll(/:[a-zA-Z]+/g, NAME)}$`),
      names: [...route.path.matchAll(/:([a-zA-Z]+)/g)].map((match) => match[1] ?? ''),
    }));
  return (request, response) => {
    const url = request.url ?? '';
    for (const route of hot) {
      if (request.method !== route.method) continue;
      const match = route.pattern.exec(url);
      if (match === null) continue;
      const params: Record<string, string> = {};
      for (const [index, name] of route.names.entries()) params[name] = match[index + 1] ?? '';
      void route.serve(request, response, params, '');
      return true;
    }
    return false;
  };
}
