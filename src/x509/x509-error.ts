/**
 * What we were given is not what the standards (or our limits) allow. `rule` is a short, stable, kebab-case name of what was broken
 * (`trailing-bytes`, `csr-version`, `key-size`), fit for logs, metrics and tests; `message` is one lower-case clause for people.
 */
export class X509Error extends Error {
  override readonly name = 'X509Error';
  readonly rule: string;
  /** Where the fault belongs to one of several inputs (a certificate in a chain file): its place, from 0. */
  readonly index: number | undefined;

  constructor(rule: string, message: string, options: { cause?: unknown; index?: number } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.rule = rule;
    this.index = options.index;
  }
}
