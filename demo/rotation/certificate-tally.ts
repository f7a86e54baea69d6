const SERIES = /^(mesh_ca_certificates_total\{.*\}) (\d+)$/gm;

/** Adds up the certificates that were issued, over processes that start to count anew and backends that take their series with them when they go. */
export class CertificateTally {
  readonly #issued = new Map<string, number>();
  #life = 0;

  /** The text of `/metrics`. */
  read(metrics: string): void {
    for (const [, series = '', count] of metrics.matchAll(SERIES)) {
      if (series.includes('outcome="issued"')) this.#issued.set(`${this.#life} ${series}`, Number(count));
    }
  }

  /** Another process counts from now on. */
  nextLife(): void {
    this.#life += 1;
  }

  get total(): number {
    return [...this.#issued.values()].reduce((sum, count) => sum + count, 0);
  }
}
