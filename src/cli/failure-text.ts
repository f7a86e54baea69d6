import type { CliError } from './cli-error.ts';
import type { CliIo } from './cli-io.ts';

const MAX_LINES = 100;

/** `error:`, `why:`, failed checks, who is waited for, and `fix:`; several reasons stand below each other. */
export async function formatFailure(failure: CliError, io: CliIo, plain: boolean): Promise<string> {
  const colour = !plain && io.stderr.isTTY && !io.env.NO_COLOR && io.env.TERM !== 'dumb';
  const { default: picocolors } = await import('picocolors');
  const { red, dim, green } = picocolors.createColors(colour);
  const why = failure.why.slice(0, MAX_LINES);
  if (failure.why.length > MAX_LINES) why.push(`and ${failure.why.length - MAX_LINES} more`);
  const lines = [`${red('error:')} ${failure.message}`];
  for (const [index, reason] of why.entries())
    lines.push(index === 0 ? `  ${dim('why:')} ${reason}` : `       ${reason}`);
  if (failure.checks.length > 0) {
    const { createCheckStyle, formatChecks } = await import('./check-lines.ts');
    const style = await createCheckStyle(io.stderr, io.env, colour);
    lines.push(formatChecks(failure.checks, style, '  ').trimEnd());
  }
  if (failure.blockers !== undefined) {
    const { blockerLines } = await import('./blocker-view.ts');
    lines.push(...blockerLines(failure.blockers, io.clock.now(), { indent: '  ' }));
  }
  if (failure.fix !== undefined) lines.push(`  ${green('fix:')} ${failure.fix}`);
  return `${lines.join('\n')}\n`;
}
