import { type ListeningFake, listen, type Received } from '../../fakes/listen.ts';

/** How a server answers that says all that it hears, in every shape that the SDKs and adapters read text from. */
export interface Telling {
  readonly name: string;
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Of all that it has heard with this request. */
  body(heard: string): string;
}

/** Erases the line on a terminal, sets its title, turns text around, and begins a line of its own. */
export const HOSTILE = '\u001b[2K\u001b]0;owned\u0007\u009b31m\u202e\r\nroot@host:~# ';

const kubernetes = (heard: string, code: number) => ({ kind: 'Status', code, message: heard, reason: heard });
const everywhere = (heard: string, code: number) =>
  JSON.stringify({
    ...kubernetes(heard, code),
    errors: [heard, `1 error occurred:\n\t* ${heard}`],
    __type: 'com.amazonaws#StrangeException',
    Message: heard,
  });

/** Keys that a server has chosen, with values of the wrong type: what a parser says of them names the key. */
const keysOfItsOwn = (heard: string) =>
  JSON.stringify({
    ...{ kind: heard, metadata: { resourceVersion: '1', labels: { [heard]: 5 } }, items: { [heard]: 5 } },
    data: { [heard]: 5, keys: ['a'], key_info: { [heard]: 5 }, certificate: heard, ca_chain: heard },
    auth: { client_token: 5, [heard]: 5 },
    ...{ initialized: true, sealed: false, standby: false, server_time_utc: 1e308, version: heard },
    ...{ Certificate: heard, CertificateChain: heard, CertificateArn: heard, status: { allowed: heard, phase: heard } },
  });

const NAMES_OF_EXCEPTIONS = ['ValidationException', 'RequestFailedException'];

export const TELLINGS: readonly Telling[] = [
  ...[400, 401, 403, 404, 422, 429, 503].map((status) => ({
    name: `an error ${status} that repeats all that it heard`,
    status,
    headers: { 'retry-after': '99999999999999999999', date: 'Thu, 99 Foo 99999 25:61:61 GMT' },
    body: (heard: string) => everywhere(heard, status),
  })),
  ...NAMES_OF_EXCEPTIONS.map((name) => ({
    name: `a ${name} that repeats all that it heard`,
    status: 400,
    body: (heard: string) => JSON.stringify({ __type: name, message: heard, Message: heard, errors: [heard] }),
  })),
  { name: 'text that is no JSON', status: 200, body: (heard) => heard },
  { name: 'keys that it chose', status: 200, headers: { date: 'x' }, body: keysOfItsOwn },
  {
    name: 'a redirect',
    status: 302,
    headers: { location: 'http://127.0.0.1:1/' },
    body: (heard) => everywhere(heard, 302),
  },
];

/** A server that tells in its answer everything that it was told, and more that no terminal should obey. */
export async function startTellTale(): Promise<ListeningFake & { telling: Telling }> {
  const state = { telling: { name: 'text that is no JSON', status: 200, body: (heard: string) => heard } as Telling };
  const server = await listen((request) => {
    const { status, headers = {}, body } = state.telling;
    return {
      status,
      headers: { 'content-type': 'application/json', ...headers },
      body: body(`${HOSTILE}${heardIn(request)}`),
    };
  });
  return Object.assign(state, server);
}

/** Secrets first: what is told is cut somewhere. */
function heardIn({ headers, url, body, method }: Received): string {
  const { authorization, 'x-vault-token': token, 'x-amz-security-token': session } = headers;
  const sent = body.toString('utf8');
  const bare = authorization?.split(' ').at(-1);
  return [token, session, bare, authorization, bodyText(sent), method, decodeURIComponent(url), JSON.stringify(headers)]
    .filter((part) => part !== undefined && part !== '')
    .join(' ');
}

/** The values of a JSON body, without their names. */
function bodyText(body: string): string {
  try {
    return Object.values(JSON.parse(body)).join(' ');
  } catch {
    return body;
  }
}
