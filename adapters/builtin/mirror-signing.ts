import type { CallOptions, IssuerContext, IssuerDeps } from '../../src/issuer/issuer.ts';
import { orAborted } from '../../src/runtime/or-aborted.ts';
import { caSecretNames } from './ca-secrets.ts';
import { readStoredGenerations } from './generations.ts';

const TRIES = 3;

/**
 * Once a single generation is left, Kuma's two secrets hold it, too: so a Kuma control plane can take over, and nothing happens when ours is lost.
 * While our secret is there nobody here reads them, so a crash between the two writes does no harm; the next call finishes it.
 */
export async function mirrorSigning(
  context: IssuerContext,
  deps: Pick<IssuerDeps, 'secrets' | 'log'>,
  call: CallOptions,
): Promise<void> {
  const names = caSecretNames(context);
  for (let tries = 0; tries < TRIES; tries += 1) {
    const read = (name: string) => orAborted(deps.secrets.read(name), call.signal);
    // Before the generations: who was held up here must not put back what others have replaced since.
    const [cert, key] = [await read(names.cert), await read(names.key)];
    const stored = await readStoredGenerations(deps.secrets, context, call);
    const [only, ...others] = stored?.all ?? [];
    if (stored?.secret === undefined || only === undefined || others.length > 0) return;
    const replace = async (name: string, before: Buffer | undefined, text: string) => {
      const after = Buffer.from(text);
      return (
        before?.equals(after) === true || (await orAborted(deps.secrets.replace(name, before, after), call.signal))
      );
    };
    if ((await replace(names.cert, cert, only.pems.cert)) && (await replace(names.key, key, only.pems.key))) return;
  }
  deps.log.warn({ secrets: [names.cert, names.key] }, 'builtin ca: secrets for Kuma are changed by others');
}
