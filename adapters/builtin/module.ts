import type { IssuerModule } from '../../src/issuer/issuer.ts';
import { caSecretNames } from './ca-secrets.ts';
import { CHECK_RULES } from './check-rules.ts';
import { type BuiltinConf, parseConf } from './config.ts';
import { createBuiltinIssuer } from './issuer.ts';

/** mesh-ca's own CA, one for each backend, made when the Mesh is stored. See README.md. */
export const module: IssuerModule<BuiltinConf> = {
  type: 'builtin',
  local: true,
  checks: CHECK_RULES,
  parseConf,
  usedSecrets(_conf, context) {
    const names = caSecretNames(context);
    return [names.cert, names.key, names.generations];
  },
  laterSecrets: (_conf, context) => [caSecretNames(context).generations],
  create: createBuiltinIssuer,
};
