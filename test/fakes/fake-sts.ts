import { AwsError } from './acmpca/aws-error.ts';
import { verifySignature } from './acmpca/sigv4.ts';
import type { FakeUser } from './acmpca/users.ts';
import { type Answer, type ListeningFake, listen, type Received } from './listen.ts';

export interface FakeSts extends ListeningFake {
  readonly region: string;
}

export interface FakeStsOptions {
  readonly region: string;
  readonly users: readonly FakeUser[];
  now(): Date;
}

/** sts:GetCallerIdentity: it believes a request only after it has worked out the signature by itself. Answers XML, as STS does. */
export async function startFakeSts(options: FakeStsOptions): Promise<FakeSts> {
  const sts = await listen((request) => answer(request, options));
  return { ...sts, region: options.region };
}

function answer(request: Received, { region, users, now }: FakeStsOptions): Answer {
  try {
    const findUser = (id: string) => users.find(({ accessKeyId }) => accessKeyId === id);
    const user = verifySignature(request, { region, service: 'sts', now: now(), findUser });
    const form = new URLSearchParams(request.body.toString('utf8'));
    if (request.method !== 'POST' || form.get('Action') !== 'GetCallerIdentity') {
      throw new AwsError('InvalidAction', 'Could not find operation');
    }
    return { status: 200, body: `<GetCallerIdentityResult><Arn>${user.arn}</Arn></GetCallerIdentityResult>` };
  } catch (error) {
    if (!(error instanceof AwsError)) throw error;
    // As STS does with a wrong signature: it repeats what it has seen, session token included.
    const seen = String(request.headers['x-amz-security-token'] ?? '');
    return {
      status: 403,
      body: `<Error><Code>${error.type}</Code><Message>${error.message} x-amz-security-token:${seen}</Message></Error>`,
    };
  }
}
