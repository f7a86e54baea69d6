import type { Log, LogFields } from '../../src/runtime/log.ts';

export interface LogLine extends LogFields {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly message: string;
}

/** A log that puts its lines into `lines`, those of its children too. */
export function createListLog(lines: LogLine[]): Log {
  const at = (level: LogLine['level']) => (fields: LogFields, message: string) =>
    void lines.push({ ...fields, level, message });
  const log: Log = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error'), child: () => log };
  return log;
}
