import { ConflictError } from '../../src/issuer/errors.ts';
import type { CaGenerations, CallOptions, IssuerContext, IssuerDeps, Renewer } from '../../src/issuer/issuer.ts';
import { orAborted } from '../../src/runtime/or-aborted.ts';
import { fingerprintSha256 } from '../../src/x509/certificate.ts';
import { keyPairError } from '../shared/local-issuer.ts';
import { caNotMade, caSecretNames } from './ca-secrets.ts';
import type { BuiltinConf } from './config.ts';
import { createCa } from './create-ca.ts';
import {
  type Generation,
  type Generations,
  loadGenerations,
  MOST_GENERATIONS,
  othersOf,
  readStoredGenerations,
  rootOf,
  writeGenerations,
} from './generations.ts';
import { mirrorSigning } from './mirror-signing.ts';

/** How often a step is looked at again because somebody else has changed the generations meanwhile. */
const TRIES = 8;

/**
 * The line of CAs under one name. All of them stand in one secret with what says which signs, so each step is one compare-and-swap: it was taken or
 * not, whenever the process dies and however many take it at once.
 */
export function createRenewer(
  context: IssuerContext,
  conf: BuiltinConf,
  deps: Pick<IssuerDeps, 'secrets' | 'clock' | 'random' | 'log'>,
): Renewer {
  const name = caSecretNames(context).generations;

  async function read(call: CallOptions): Promise<Generations & { readonly secret: Buffer | undefined }> {
    try {
      const stored = await readStoredGenerations(deps.secrets, context, call);
      if (stored === undefined) throw caNotMade(context);
      return { ...loadGenerations(stored, context), secret: stored.secret };
    } catch (error) {
      throw keyPairError(error, context);
    }
  }

  /** @param step undefined: there is nothing to do */
  async function change(
    what: string,
    call: CallOptions,
    step: (found: Generations) => Generations | undefined | Promise<Generations | undefined>,
  ): Promise<Generations> {
    call.signal.throwIfAborted();
    for (let tries = 0; tries < TRIES; tries += 1) {
      const found = await read(call);
      const next = await step(found);
      if (next === undefined) return found;
      if (await orAborted(deps.secrets.replace(name, found.secret, writeGenerations(next)), call.signal)) {
        const numbers = next.all.map(({ number }) => number);
        deps.log.info({ signing: next.signing.number, trusted: numbers }, what);
        return next;
      }
    }
    throw new ConflictError(
      `the generations of backend "${context.backend}" of mesh "${context.mesh}" were changed by others ${TRIES} times`,
      { fix: 'try again' },
    );
  }

  return {
    async generations(call) {
      call.signal.throwIfAborted();
      return told(await read(call));
    },

    async prepareNext(call) {
      let made: Promise<Generation['ca']> | undefined;
      const changed = await change('builtin ca: next generation made', call, async ({ signing, all }) => {
        const newest = all.at(-1) ?? signing;
        if (newest.number > signing.number && rootOf(newest).notAfter > deps.clock.now()) return undefined;
        if (all.length >= MOST_GENERATIONS) {
          throw new ConflictError(
            `${all.length} generations of backend "${context.backend}" of mesh "${context.mesh}" are trusted already`,
            { fix: `finish the rotation that is under way: mesh-ca rotate ${context.mesh} shows it` },
          );
        }
        made ??= createCa(context, conf, deps);
        return { signing, all: [...all, { number: newest.number + 1, ca: await orAborted(made, call.signal) }] };
      });
      return told(changed);
    },

    async signWith(root, call) {
      const changed = await change('builtin ca: another generation signs', call, ({ signing, all }) => {
        const chosen = all.find((one) => rootOf(one).der.equals(root));
        if (chosen === undefined) {
          throw new ConflictError(
            `backend "${context.backend}" of mesh "${context.mesh}" has no generation with the root ${fingerprintSha256(root)}`,
            { fix: 'read the generations again: somebody else has renewed this CA or dropped that generation' },
          );
        }
        return chosen === signing ? undefined : { signing: chosen, all };
      });
      return told(changed);
    },

    async dropOthers(call) {
      const changed = await change('builtin ca: other generations dropped', call, ({ signing, all }) =>
        all.length === 1 ? undefined : { signing, all: [signing] },
      );
      await mirrorSigning(context, deps, call);
      return told(changed);
    },
  };
}

function told(generations: Generations): CaGenerations {
  return {
    signing: rootOf(generations.signing).der,
    others: othersOf(generations).map((one) => rootOf(one).der),
  };
}
