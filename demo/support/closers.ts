/** What has to be undone at the end, last thing first. */
export class Closers {
  readonly #stack: { readonly what: string; close(): Promise<void> }[] = [];

  add(what: string, close: () => Promise<void>): void {
    this.#stack.push({ what, close });
  }

  /** Undoes everything, even where something fails. Gives one line for each thing that could not be undone. */
  async closeAll(): Promise<string[]> {
    const failures: string[] = [];
    for (let next = this.#stack.pop(); next !== undefined; next = this.#stack.pop()) {
      try {
        await next.close();
      } catch (error) {
        failures.push(`could not end ${next.what}: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
    return failures;
  }
}
