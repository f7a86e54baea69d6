import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { findOpenBao } from '../../../testcontainers/openbao-program.ts';
import { runProgram } from '../../../testcontainers/run-program.ts';
import { actionsOf } from './fix-text.ts';
import type { World } from './world.ts';

export interface FollowOptions {
  /** Which way of those that the fix names. Default: the first with something to carry out. */
  readonly way?: RegExp;
  /** What an operator puts in the place of `<placeholders>` and of the names of files. */
  readonly fill?: Readonly<Record<string, string>>;
  /** Which of its commands. Default: all. */
  readonly only?: RegExp;
  /** What the program asks for at its prompt. */
  readonly answers?: readonly string[];
}

const COMMAND_TIMEOUT_MS = 15_000;
const POLICIES = fileURLToPath(new URL('../../../policies/vault/', import.meta.url));

/**
 * Does what the fix says, word for word: its commands by the real program, as an administrator, in the folder of the documented files.
 * @returns what the commands printed
 * @throws Error when nothing in it can be carried out, a placeholder is left, or a command fails
 */
export async function followFix(fix: string, world: World, options: FollowOptions = {}): Promise<string> {
  const actions = actionsOf(fix, options.way);
  if (actions.length === 0) throw new Error(`nothing to carry out in the fix: ${fix}`);
  let output = '';
  for (const action of actions) {
    if (action.kind === 'policy') await world.extendPolicy(action.hcl);
    else if (options.only?.test(action.words.join(' ')) ?? true)
      output += await runBao(fillWords(action.words, options.fill ?? {}), options.answers ?? [], world);
  }
  return output;
}

function fillWords(words: readonly string[], fill: Readonly<Record<string, string>>): readonly string[] {
  return words.map((word) => {
    let filled = word;
    for (const [placeholder, value] of Object.entries(fill)) filled = filled.replaceAll(placeholder, value);
    if (/<[^<>]*>|\.\.\.$/.test(filled))
      throw new Error(`the command cannot be typed as it stands: ${words.join(' ')}`);
    return filled.replace(/^@(?=[^/]+$)/, `@${POLICIES}`);
  });
}

async function runBao(words: readonly string[], answers: readonly string[], world: World): Promise<string> {
  const program = await findOpenBao();
  const { exitCode, output } = await runProgram([program?.path ?? 'bao', ...words, ...answers], {
    timeoutMs: COMMAND_TIMEOUT_MS,
    // A home of its own: the program would take a token from there.
    env: { PATH: process.env.PATH, HOME: tmpdir(), BAO_ADDR: world.server.address, BAO_TOKEN: world.server.rootToken },
  });
  if (exitCode !== 0) throw new Error(`vault ${words.join(' ')} ended with ${exitCode}: ${output}`);
  return output;
}
