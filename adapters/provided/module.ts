import type { IssuerModule } from '../../src/issuer/issuer.ts';
import { CHECK_RULES } from './check-rules.ts';
import { type ProvidedConf, parseConf } from './config.ts';
import { createProvidedIssuer } from './issuer.ts';

/** A CA certificate (or chain) and its key that the operator gives. See README.md. */
export const module: IssuerModule<ProvidedConf> = {
  type: 'provided',
  local: true,
  checks: CHECK_RULES,
  parseConf,
  usedSecrets({ cert, key }) {
    const names = [cert, key].flatMap((source) => (source.kind === 'secret' ? [source.secret] : []));
    return [...new Set(names)];
  },
  create: createProvidedIssuer,
};
