import pc from 'picocolors';

export interface Screen {
  /** A line with the seconds since the start: `[ 1.2 s] text`. */
  step(text: string): void;
  /** A command line as somebody would type it. */
  command(text: string): void;
  /** Text as it is, without a time. */
  plain(text: string): void;
  heading(text: string): void;
  error(text: string): void;
}

const INDENT = ' '.repeat('[ 0.0 s] '.length);

/** Colours only where somebody looks at them. */
export function createScreen(stdout: NodeJS.WriteStream, stderr: NodeJS.WriteStream, env: NodeJS.ProcessEnv): Screen {
  const colours = (stream: NodeJS.WriteStream) =>
    pc.createColors(stream.isTTY === true && !env.NO_COLOR && env.TERM !== 'dumb');
  const out = colours(stdout);
  const err = colours(stderr);
  return {
    step: (text) => {
      // From the start of the process: loading the program counts, too.
      const seconds = (performance.now() / 1000).toFixed(1).padStart(4);
      stdout.write(`${out.dim(`[${seconds} s]`)} ${indented(text)}\n`);
    },
    command: (text) => void stdout.write(`${INDENT}${out.cyan(`$ ${text}`)}\n`),
    plain: (text) => void stdout.write(`${text}\n`),
    heading: (text) => void stdout.write(`\n${out.bold(text)}\n`),
    error: (text) => void stderr.write(`${err.red('demo:')} ${text}\n`),
  };
}

const indented = (text: string): string => text.trimEnd().replaceAll('\n', `\n${INDENT}`);
