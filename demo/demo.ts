import { fileURLToPath } from 'node:url';
import type { Closers } from './support/closers.ts';
import type { CommandOutput } from './support/run-command.ts';
import { runCommand } from './support/run-command.ts';
import type { Screen } from './support/screen.ts';

/** What every step has at hand. */
export interface Demo {
  readonly screen: Screen;
  readonly closers: Closers;
  /** Aborted when somebody wants the demo to end. */
  readonly signal: AbortSignal;
  /** For everything that is written; removed at the end. */
  readonly folder: string;
}

/** Root of the checkout. */
export const ROOT = fileURLToPath(new URL('..', import.meta.url));
/** The built program, as users run it. */
export const MESH_CA = fileURLToPath(new URL('../bin/mesh-ca', import.meta.url));

/** The environment without settings of a mesh-ca of the visitor's own. */
export function cleanEnv(more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !name.startsWith('MESH_CA_'));
  return { ...Object.fromEntries(kept), ...more };
}

/** Runs the built `mesh-ca` with these arguments, in the demo's folder, against the server at `address`. */
export function meshCa(
  { folder, signal }: Demo,
  address: string,
  args: readonly string[],
  input?: string,
): Promise<CommandOutput> {
  return runCommand(`mesh-ca ${args.join(' ')}`, [process.execPath, MESH_CA, ...args], {
    cwd: folder,
    env: cleanEnv({ MESH_CA_ADDRESS: address }),
    signal,
    ...(input === undefined ? {} : { input }),
  });
}
