export interface Alarms {
  readonly seen: readonly string[];
  stop(): void;
}

/** What would have ended or worried a real process: nothing of it may be caused by a backend. */
export function collectAlarms(): Alarms {
  const seen: string[] = [];
  const listeners = (['warning', 'uncaughtException', 'unhandledRejection'] as const).map((event) => {
    const listener = (what: unknown) =>
      void seen.push(`${event}: ${what instanceof Error ? what.message : 'no error'}`);
    process.on(event, listener);
    return () => process.removeListener(event, listener);
  });
  return {
    seen,
    stop() {
      for (const remove of listeners) remove();
    },
  };
}
