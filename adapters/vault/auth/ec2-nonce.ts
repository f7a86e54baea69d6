import { ConfigError } from '../../../src/issuer/errors.ts';
import type { IssuerContext, IssuerDeps } from '../../../src/issuer/issuer.ts';
import { orAborted } from '../../../src/runtime/or-aborted.ts';

const NONCE_BYTES = 24;
const NONCE = /^[\x21-\x7e]{1,128}$/;

/** The mesh is part of the name because on Kubernetes all meshes share one namespace. */
export function ec2NonceSecret({ mesh, backend }: IssuerContext): string {
  return `${mesh}.vault-ec2-nonce-${backend}`;
}

/**
 * Vault takes the identity document of an EC2 instance together with the nonce of the instance's first login only: a copied document is of no use to
 * others. The client may choose the nonce, and who loses it is locked out. So it is stored before the first login ever sends it; of replicas that race
 * the first wins, and all send what is stored.
 * @throws ConfigError when the secret holds no nonce; the reason of `signal`
 */
export async function ec2Nonce(
  deps: Pick<IssuerDeps, 'secrets' | 'random'>,
  context: IssuerContext,
  signal: AbortSignal,
): Promise<string> {
  const name = ec2NonceSecret(context);
  const read = () => orAborted(deps.secrets.read(name), signal);
  let stored = await read();
  if (stored === undefined) {
    const nonce = Buffer.from(deps.random.bytes(NONCE_BYTES).toString('base64url'));
    await orAborted(deps.secrets.createTogether(new Map([[name, nonce]])), signal);
    stored = await read();
  }
  const nonce = stored?.toString('utf8').trim() ?? '';
  if (NONCE.test(nonce)) return nonce;
  throw new ConfigError(`secret "${name}" of mesh "${context.mesh}" holds no nonce for logins from EC2`, {
    fix: 'restore the secret from a backup; or remove it, together with what Vault remembers of the instance (vault delete auth/<mount>/identity-accesslist/<instance id>)',
  });
}
