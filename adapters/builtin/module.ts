import type { IssuerModule } from '../../src/issuer/issuer.ts';
import { caSecretNames } from './ca-secrets.ts';
import { type BuiltinConf, parseConf } from './config.ts';
import { createBuiltinIssuer } from './issuer.ts';

/** mesh-ca's own CA, one for each backend, made when the Mesh is stored. See README.md. */
export const module: IssuerModule<BuiltinConf> = {
  type: 'builtin',
  local: true,
  parseConf,
  usedSecrets(_conf, context) {
    const names = caSecretNames(context);
    return [names.cert, names.key];
  },
  create: createBuiltinIssuer,
};
