import { ENVOY_VERSION, findEnvoy, installEnvoy } from './envoy-program.ts';
import { findMoto, installMoto, MOTO_VERSION } from './moto-program.ts';
import { findOpenBao, installOpenBao, OPENBAO_VERSION } from './openbao-program.ts';

interface Server {
  readonly name: string;
  /** Puts the pinned version into the cache folder, if it is not there yet; its place. */
  install(showProgress: boolean): Promise<string>;
  /** What is there, from whatever source. Good enough where the package cannot be had. */
  find(): Promise<{ readonly path: string } | undefined>;
}

/** What `npm run servers` puts into the cache folder. One row for each server that tests and demos need. */
const SERVERS: readonly Server[] = [
  { name: `openbao ${OPENBAO_VERSION}`, install: installOpenBao, find: findOpenBao },
  { name: `moto ${MOTO_VERSION}`, install: installMoto, find: findMoto },
  { name: `envoy ${ENVOY_VERSION}`, install: installEnvoy, find: findEnvoy },
];

async function ensure(server: Server): Promise<string> {
  try {
    return await server.install(process.stdout.isTTY === true);
  } catch (error) {
    const found = await server.find();
    if (found === undefined) throw error;
    return found.path;
  }
}

for (const server of SERVERS) {
  try {
    if ((await server.find()) === undefined) process.stdout.write(`${server.name}: getting it\n`);
    process.stdout.write(`${server.name}: ready (${await ensure(server)})\n`);
  } catch (error) {
    process.stderr.write(`${server.name}: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
