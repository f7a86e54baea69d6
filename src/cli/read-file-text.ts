import { open } from 'node:fs/promises';
import { CliError, fileError } from './cli-error.ts';
import { EXIT } from './exit-code.ts';

/** Text of a file of at most `maxBytes`. `what` names the content in errors. */
export async function readFileText(file: string, maxBytes: number, what: string): Promise<string> {
  const failed = `could not read ${what} from ${file}`;
  try {
    const handle = await open(file, 'r');
    try {
      const { buffer, bytesRead } = await handle.read({ buffer: Buffer.alloc(maxBytes + 1) });
      if (bytesRead > maxBytes)
        throw new CliError(failed, { exitCode: EXIT.request, why: [`it is larger than ${maxBytes} bytes`] });
      return buffer.toString('utf8', 0, bytesRead);
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw error instanceof CliError ? error : fileError(failed, error);
  }
}
