import type { IssuerContext, IssuerDeps } from '../../../src/issuer/issuer.ts';
import type { AwsAuth } from './auth-conf.ts';
import { ec2Nonce } from './ec2-nonce.ts';
import { readIdentityDocument } from './instance-metadata.ts';
import type { LoginMethod } from './login-source.ts';

/** The identity document of the EC2 instance that this process runs on, signed by AWS (PKCS#7), and the nonce of its first login. */
export function createAwsEc2Login(
  auth: AwsAuth,
  deps: Pick<IssuerDeps, 'clock' | 'random' | 'secrets'>,
  context: IssuerContext,
): LoginMethod<Record<string, never>> {
  return {
    place: auth,
    load: async () => ({}),
    async prepare(_credentials, signal) {
      const document = await readIdentityDocument(deps.clock, signal);
      if (!document.ok) return document;
      const pkcs7 = document.value;
      const nonce = await ec2Nonce(deps, context, signal);
      const body = { ...(auth.role !== '' && { role: auth.role }), pkcs7, nonce };
      return { ok: true, value: { body, secrets: [nonce, pkcs7] } };
    },
  };
}
