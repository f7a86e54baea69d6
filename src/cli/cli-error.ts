import { CaError, type Violation } from '../issuer/errors.ts';
import { redactText } from '../runtime/redact.ts';
import { X509Error } from '../x509/x509-error.ts';
import type { Blockers } from './blocker-view.ts';
import { EXIT, EXIT_CODES, type ExitCode } from './exit-code.ts';
import type { CheckView } from './proof-view.ts';

export interface CliErrorOptions {
  readonly exitCode: ExitCode;
  readonly why?: readonly string[];
  readonly fix?: string | undefined;
  readonly checks?: readonly CheckView[];
  readonly blockers?: Blockers | undefined;
  readonly cause?: unknown;
}

/** A failure in the words of the command: what did not work, why (one line for each reason), and the command to type next. */
export class CliError extends Error {
  readonly exitCode: ExitCode;
  readonly why: readonly string[];
  readonly fix: string | undefined;
  /** Checks of backends that failed; shown below the reasons, each with its own cause and fix. */
  readonly checks: readonly CheckView[];
  /** Who is not ready yet; shown below the reasons. */
  readonly blockers: Blockers | undefined;

  constructor(what: string, options: CliErrorOptions) {
    super(what, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'CliError';
    this.exitCode = options.exitCode;
    this.why = options.why ?? [];
    this.fix = options.fix;
    this.checks = options.checks ?? [];
    this.blockers = options.blockers;
  }

  /** The same failure as part of a larger one: `what` goes in front, the reasons stay. */
  within(what: string, fix: string | undefined = this.fix): CliError {
    const why = this.why.length > 0 ? this.why : [this.message];
    const { exitCode, checks, blockers } = this;
    return new CliError(what, { exitCode, why, fix, checks, blockers, cause: this });
  }
}

/** Ends the program when the command has already written all there is to say. */
export class ToldFailure extends Error {
  readonly exitCode: ExitCode;

  constructor(exitCode: ExitCode) {
    super('told already');
    this.name = 'ToldFailure';
    this.exitCode = exitCode;
  }
}

/** Any error as a CliError. Never tells a stack or anything secret. */
export function toCliError(error: unknown): CliError {
  if (error instanceof CliError) return error;
  if (error instanceof CaError) {
    const why = error.violations.map(describeViolation);
    // Messages of lists of violations often repeat them.
    const what = why.length > 0 ? (error.message.split(': ')[0] ?? error.message) : error.message;
    return new CliError(what, { exitCode: EXIT_CODES[error.code], why, fix: error.fix, cause: error });
  }
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof X509Error) {
    return new CliError('a certificate, request or key cannot be used', {
      exitCode: EXIT.request,
      why: [redactText(message)],
      cause: error,
    });
  }
  return new CliError('something unexpected happened', {
    exitCode: EXIT.unexpected,
    why: [redactText(message)],
    fix: 'please report it, with the command and this text',
    cause: error,
  });
}

export function describeViolation({ field, message }: Violation): string {
  return field === '' ? message : `${field}: ${message}`;
}

/** A failed system call on a file, in plain words. */
export function fileError(what: string, error: unknown): CliError {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const reasons: Readonly<Record<string, string>> = {
    ENOENT: 'there is no such file or folder',
    EACCES: 'access is not permitted',
    EPERM: 'access is not permitted',
    EISDIR: 'it is a folder',
    ENOTDIR: 'a part of the path is not a folder',
    EEXIST: 'it exists already',
    ENOSPC: 'the disk is full',
    EROFS: 'the file system is read-only',
  };
  const why = reasons[code] ?? redactText(error instanceof Error ? error.message : String(error));
  return new CliError(what, { exitCode: EXIT.request, why: [why], cause: error });
}
