import { CaError } from '../../src/issuer/errors.ts';
import type { InspectOptions, IssuerContext, IssuerDeps } from '../../src/issuer/issuer.ts';
import { checkCaLife } from '../shared/ca-life.ts';
import { type Checks, createChecks, type Finding } from '../shared/checks.ts';
import type { CaKeyPair } from '../shared/in-process-ca.ts';
import { type CaPems, caNotMade, caSecretNames, readCaPems } from './ca-secrets.ts';
import type { BuiltinConf } from './config.ts';
import { RENEW, readKeyPair } from './key-pair.ts';

export interface Inspected {
  readonly context: IssuerContext;
  readonly conf: BuiltinConf;
  readonly deps: IssuerDeps;
}

/** Is the CA there, is it a pair, is it the one that the conf describes, does it live? */
export async function inspectBuiltin(inspected: Inspected, options: InspectOptions): Promise<void> {
  const { conf, deps } = inspected;
  options.signal.throwIfAborted();
  const checks = createChecks('builtin', { ...options, clock: deps.clock });
  const pems = await checkSecrets(inspected, checks, options);
  const ca = pems && checkPair(inspected, checks, pems);
  if (ca === undefined) return;
  checkKeyType(conf, checks, ca);
  checkCaLife(checks, ca.path, deps.clock.now(), RENEW);
}

async function checkSecrets(
  { context, deps }: Inspected,
  checks: Checks,
  options: InspectOptions,
): Promise<CaPems | undefined> {
  const names = caSecretNames(context);
  try {
    const pems = await readCaPems(deps.secrets, context, options);
    if (pems === undefined) throw caNotMade(context);
    checks.pass('secrets-present', `secrets "${names.cert}" and "${names.key}" exist`);
    return pems;
  } catch (error) {
    options.signal.throwIfAborted();
    checks.fail('secrets-present', findingOf('the CA cannot be read', error));
    return undefined;
  }
}

function checkPair({ context }: Inspected, checks: Checks, pems: CaPems): CaKeyPair | undefined {
  try {
    const ca = readKeyPair(pems, context);
    checks.pass('key-matches', 'the private key belongs to the CA certificate');
    return ca;
  } catch (error) {
    checks.fail('key-matches', findingOf('certificate and private key are not a pair', error));
    return undefined;
  }
}

/** A CA is made once: what the conf says of its key later has no effect. */
function checkKeyType({ caCert }: BuiltinConf, checks: Checks, { path: [root] }: CaKeyPair): void {
  const found = root.publicKey?.type ?? 'unknown';
  if (found === caCert.keyType) {
    checks.pass('key-type', `the CA has a key of type ${found}`);
    return;
  }
  checks.warn('key-type', {
    message: `the CA has a key of type ${found}, the conf asks for ${caCert.keyType}`,
    cause: 'the CA was made before the conf was changed, or was restored; it is never replaced in place',
    fix: 'add a backend of another name to the mesh and rotate to it; or let caCert say what the CA has',
  });
}

function findingOf(message: string, error: unknown): Finding {
  const { fix, retry } = error instanceof CaError ? error : { fix: undefined, retry: undefined };
  const cause = error instanceof Error ? error.message : 'unknown';
  return { message, cause, fix: fix ?? 'look at the store of mesh-ca', retry };
}
