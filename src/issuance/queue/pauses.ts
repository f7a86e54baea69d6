/** Until when backends of one endpoint may not be asked, because they said so. Instants on a clock that only grows, in milliseconds. */
export interface Pauses {
  /**
   * A backend said that it is not to be asked until then. When another one that said so is still paused, it is about the endpoint (an AWS account, an API
   * server), and all of it is paused until the later of both.
   */
  tell(backend: string, untilMs: number, nowMs: number): void;
  /** Of a backend, that of its endpoint included; 0 when there was none. */
  untilMs(backend: string): number;
  /** Of a backend alone. */
  ownUntilMs(backend: string): number;
  /** Of the endpoint. */
  readonly wholeUntilMs: number;
  /** The next end of a pause after `nowMs`. */
  nextEndMs(nowMs: number): number | undefined;
  /** Forgets those that are over, and tells whose they were. */
  end(nowMs: number): string[];
}

export function createPauses(): Pauses {
  const untils = new Map<string, number>();
  let wholeUntilMs = 0;
  return {
    get wholeUntilMs() {
      return wholeUntilMs;
    },
    tell(backend, untilMs, nowMs) {
      const own = Math.max(untilMs, untils.get(backend) ?? 0);
      for (const [other, otherUntilMs] of untils) {
        if (other !== backend && otherUntilMs > nowMs) wholeUntilMs = Math.max(wholeUntilMs, own, otherUntilMs);
      }
      untils.set(backend, own);
    },
    untilMs: (backend) => Math.max(wholeUntilMs, untils.get(backend) ?? 0),
    ownUntilMs: (backend) => untils.get(backend) ?? 0,
    nextEndMs(nowMs) {
      const ends = [wholeUntilMs, ...untils.values()].filter((untilMs) => untilMs > nowMs);
      return ends.length === 0 ? undefined : Math.min(...ends);
    },
    end(nowMs) {
      const over = [...untils].filter(([, untilMs]) => untilMs <= nowMs).map(([backend]) => backend);
      for (const backend of over) untils.delete(backend);
      return over;
    },
  };
}
