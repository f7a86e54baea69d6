/** How long the HTTP server waits, in milliseconds. A caller that is slower is cut off (slow-loris). */
export interface HttpLimits {
  /** For a whole header. */
  readonly headersMs: number;
  /** For a whole body that is read at once. */
  readonly bodyMs: number;
  /** Between two chunks of a body that is read line by line; such a body may take any time in all. */
  readonly idleMs: number;
  /** For the rest of a body that nobody wants, once its answer is given. */
  readonly restMs: number;
  /** For the next request on a connection. */
  readonly keepAliveMs: number;
  /** How often connections are looked at for headers that do not come. */
  readonly checkMs: number;
}

export const HTTP_LIMITS: HttpLimits = {
  headersMs: 15_000,
  bodyMs: 60_000,
  idleMs: 60_000,
  restMs: 5_000,
  keepAliveMs: 65_000,
  checkMs: 5_000,
};
