import type { CaError } from '../issuer/errors.ts';

/** Kuma's titles of what can go wrong with a resource (reference: REST errors of Kuma 2.14). */
export const TITLES = {
  mesh: 'Failed to retrieve Mesh',
  parse: 'Could not process a resource',
  create: 'Failed to create a resource',
  update: 'Failed to update a resource',
  get: 'Could not retrieve a resource',
  list: 'Could not retrieve resources',
  delete: 'Could not delete a resource',
} as const;

/** Kuma's detail of a resource with violations. */
export const NOT_VALID = 'Resource is not valid';
export const NOT_FOUND = 'Not found';

/** An error of ours in the frame that kumactl prints: `Title (Detail);field=reason`. */
export class ResourceError extends Error {
  readonly title: string;
  readonly detail: string | undefined;
  readonly reason: CaError;

  constructor(step: keyof typeof TITLES, detail: string | undefined, reason: CaError) {
    super(reason.message, { cause: reason });
    this.title = TITLES[step];
    this.detail = detail;
    this.reason = reason;
  }
}
