import { open } from 'node:fs/promises';
import { CliError, fileError } from './cli-error.ts';
import { EXIT } from './exit-code.ts';

/** Text of a file of at most `maxBytes`. `what` names the content in errors. */
export async function readFileText(file: string, maxBytes: number, what: string): Promise<string> {
  const failed = `could not read ${what} from ${file}`;
  try {
    const handle = await open(file, 'r');
    try {
      const chunks: Buffer[] = [];
      let bytes = 0;
      // A pipe (`-f <(...)`) gives what it has, piece by piece.
      for await (const chunk of handle.createReadStream({ autoClose: false, end: maxBytes })) {
        chunks.push(chunk);
        bytes += chunk.length;
      }
      if (bytes > maxBytes)
        throw new CliError(failed, { exitCode: EXIT.request, why: [`it is larger than ${maxBytes} bytes`] });
      return Buffer.concat(chunks).toString();
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw error instanceof CliError ? error : fileError(failed, error);
  }
}
