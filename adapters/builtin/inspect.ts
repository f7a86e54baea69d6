import { CaError } from '../../src/issuer/errors.ts';
import type { InspectOptions, IssuerContext, IssuerDeps } from '../../src/issuer/issuer.ts';
import { checkCaLife } from '../shared/ca-life.ts';
import { type Checks, createChecks, type Finding } from '../shared/checks.ts';
import { caNotMade, caSecretNames } from './ca-secrets.ts';
import type { BuiltinConf } from './config.ts';
import {
  type Generation,
  type Generations,
  loadGenerations,
  othersOf,
  readStoredGenerations,
  rootOf,
  type StoredGenerations,
} from './generations.ts';
import { renew } from './key-pair.ts';

export interface Inspected {
  readonly context: IssuerContext;
  readonly conf: BuiltinConf;
  readonly deps: IssuerDeps;
}

/** Is the CA there, is it a pair, which generation signs, is it the one that the conf describes, does it live? */
export async function inspectBuiltin(inspected: Inspected, options: InspectOptions): Promise<void> {
  const { context, deps } = inspected;
  options.signal.throwIfAborted();
  const checks = createChecks('builtin', { ...options, clock: deps.clock });
  const stored = await checkSecrets(inspected, checks, options);
  const generations = stored && checkPairs(inspected, checks, stored);
  if (generations === undefined) return;
  checkGenerations(inspected, checks, generations);
  checkKeyType(inspected, checks, generations.signing);
  checkCaLife(checks, generations.signing.ca.path, deps.clock.now(), renew(context));
}

async function checkSecrets(
  { context, deps }: Inspected,
  checks: Checks,
  options: InspectOptions,
): Promise<StoredGenerations | undefined> {
  const { cert, key, generations } = caSecretNames(context);
  try {
    const stored = await readStoredGenerations(deps.secrets, context, options);
    if (stored === undefined) throw caNotMade(context);
    const found =
      stored.secret === undefined ? `secrets "${cert}" and "${key}" exist` : `secret "${generations}" exists`;
    checks.pass('secrets-present', found);
    return stored;
  } catch (error) {
    options.signal.throwIfAborted();
    checks.fail('secrets-present', findingOf('the CA cannot be read', error));
    return undefined;
  }
}

function checkPairs({ context }: Inspected, checks: Checks, stored: StoredGenerations): Generations | undefined {
  try {
    const generations = loadGenerations(stored, context);
    checks.pass('key-matches', 'the private key belongs to the CA certificate');
    return generations;
  } catch (error) {
    checks.fail('key-matches', findingOf('certificate and private key are not a pair', error));
    return undefined;
  }
}

/** Others are trusted during a rotation, which nothing here knows of: only what is of no use to anybody is worth a warning. */
function checkGenerations({ context, deps }: Inspected, checks: Checks, generations: Generations): void {
  const others = othersOf(generations);
  const beside = others.length === 0 ? 'no other is trusted' : `also trusted: ${numbersOf(others)}`;
  const message = `generation ${generations.signing.number} signs; ${beside}`;
  const ended = others.filter((one) => rootOf(one).notAfter <= deps.clock.now());
  if (ended.length === 0) {
    checks.pass('generations', message);
    return;
  }
  checks.warn('generations', {
    message,
    cause: `the root of generation ${numbersOf(ended)} has expired`,
    fix: `end the rotation that is under way, which drops it; or begin one: mesh-ca rotate ${context.mesh} --to ${context.backend}`,
  });
}

function numbersOf(generations: readonly Generation[]): string {
  return generations.map(({ number }) => number).join(', ');
}

/** What the conf says of a CA takes effect when the next generation is made. */
function checkKeyType({ context, conf: { caCert } }: Inspected, checks: Checks, signing: Generation): void {
  const found = rootOf(signing).publicKey?.type ?? 'unknown';
  if (found === caCert.keyType) {
    checks.pass('key-type', `the CA has a key of type ${found}`);
    return;
  }
  checks.warn('key-type', {
    message: `the CA has a key of type ${found}, the conf asks for ${caCert.keyType}`,
    cause: 'the CA was made before the conf was changed, or was restored; caCert takes effect with the next generation',
    fix: `rotate to a new generation: mesh-ca rotate ${context.mesh} --to ${context.backend}; or let caCert say what the CA has`,
  });
}

function findingOf(message: string, error: unknown): Finding {
  const { fix, retry } = error instanceof CaError ? error : { fix: undefined, retry: undefined };
  const cause = error instanceof Error ? error.message : 'unknown';
  return { message, cause, fix: fix ?? 'look at the store of mesh-ca', retry };
}
