import { type DestinationStream, destination as openDestination, pino, stdTimeFunctions } from 'pino';
import type { Log, LogFields } from './log.ts';
import { type RedactOptions, redactFields, redactText } from './redact.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

export interface LogOptions {
  readonly level: LogLevel;
  /** A file descriptor, or what takes the lines. Standard output when absent. */
  readonly destination?: number | { write(line: string): void };
}

/**
 * JSON lines, written synchronously: a line is out when the call returns. Fields and messages pass `redactFields` and `redactText` first.
 * Stacks of expected errors (`CaError`) are told at level debug only.
 */
export function createLog({ level, destination = 1 }: LogOptions): Log {
  const logger: pino.Logger = pino<never>(
    {
      level,
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      // Errors are plain objects already; pino's own serialiser would tell their stacks.
      serializers: { err: (value: unknown) => value },
      formatters: { level: (label) => ({ level: label }) },
    },
    typeof destination === 'number' ? openFileDescriptor(destination) : destination,
  );
  return wrap(logger, { stacks: level === 'debug' ? 'all' : 'unexpected' });
}

function wrap(logger: pino.Logger, options: RedactOptions): Log {
  const at = (level: LogLevel) => (fields: LogFields, message: string) => {
    if (logger.isLevelEnabled(level)) logger[level](redactFields(fields, options), redactText(message));
  };
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: (fields) => wrap(logger.child(redactFields(fields, options)), options),
  };
}

function openFileDescriptor(fd: number): DestinationStream {
  const stream = openDestination({ dest: fd, sync: true });
  // Whoever read the log has gone: losing lines is better than stopping to issue certificates.
  stream.on('error', () => {});
  return stream;
}
