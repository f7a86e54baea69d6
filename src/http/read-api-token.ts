import { readFile } from 'node:fs/promises';
import { ConfigError } from '../issuer/errors.ts';

/**
 * The token that admins show.
 * @param path of a file that holds it and nothing else; white space around it does not count
 * @throws ConfigError when the file cannot be read, or does not hold one token of 16 to 4096 printable characters
 */
export async function readApiToken(path: string): Promise<string> {
  const refuse = (why: string, cause?: unknown) =>
    new ConfigError(`apiTokenFile: ${why}`, {
      cause,
      fix: 'write one line with a random token of at least 16 characters into it, mode 0600',
    });
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw refuse(`cannot be read (${error.code ?? 'error'})`, error);
  });
  const token = text.trim();
  if (!/^[\x21-\x7e]{16,4096}$/.test(token)) throw refuse('does not hold one token of 16 to 4096 printable characters');
  return token;
}
