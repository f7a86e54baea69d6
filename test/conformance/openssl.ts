import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { encodePem } from '../../src/x509/pem.ts';

const run = promisify(execFile);

export interface OpensslVerify {
  readonly leaf: Buffer;
  readonly chain: readonly Buffer[];
  readonly roots: readonly Buffer[];
  readonly at: Date;
  readonly purpose: 'sslserver' | 'sslclient';
}

/** What `openssl verify` says about certificates in DER: `OK`, or its complaint. An independent judge of what we issue. */
export async function opensslVerify(input: OpensslVerify): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'mesh-ca-verify-'));
  try {
    const file = async (name: string, certificates: readonly Buffer[]) => {
      await writeFile(join(dir, name), certificates.map((der) => encodePem('CERTIFICATE', der)).join(''));
      return join(dir, name);
    };
    const args = ['verify', '-no-CAfile', '-no-CApath', '-no-CAstore'];
    args.push('-attime', String(Math.floor(input.at.getTime() / 1000)), '-purpose', input.purpose);
    args.push('-trusted', await file('roots.pem', input.roots));
    if (input.chain.length > 0) args.push('-untrusted', await file('chain.pem', input.chain));
    args.push(await file('leaf.pem', [input.leaf]));
    const { stdout } = await run('openssl', args);
    return stdout.trim().endsWith(': OK') ? 'OK' : stdout;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
