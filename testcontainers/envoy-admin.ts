import { request } from 'node:http';

/** One certificate as Envoy's `/certs` tells it. */
export interface EnvoyCertificate {
  /** Lower-case hex without leading zeros. */
  readonly serialNumber: string;
  readonly uriSans: readonly string[];
  readonly notAfter: Date;
}

/** What one TLS context of Envoy uses. */
export interface EnvoyTlsContext {
  readonly trusted: readonly EnvoyCertificate[];
  /** Leaf first. */
  readonly chain: readonly EnvoyCertificate[];
}

export interface EnvoyAdmin {
  /** @throws Error when the status is not 2xx */
  get(path: string): Promise<string>;
  /** Counters and gauges whose names match the regular expression (Envoy's RE2, found anywhere in the name). */
  stats(filter: string): Promise<ReadonlyMap<string, number>>;
  /** `/certs`: one entry for each TLS context that has its secrets. */
  certificates(): Promise<readonly EnvoyTlsContext[]>;
  /** `/config_dump`; private keys are blanked by Envoy itself. */
  configDump(): Promise<unknown>;
  /** @throws Error when there is no such listener */
  port(listener: string): Promise<number>;
}

const TIMEOUT_MS = 5_000;
const ANSWER_MAX = 16 * 1024 * 1024;

/** Envoy's admin interface on a Unix domain socket. */
export function createEnvoyAdmin(socketPath: string): EnvoyAdmin {
  const get = (path: string) => requestText(socketPath, path);
  const getJson = async (path: string): Promise<unknown> => JSON.parse(await get(path));
  return {
    get,
    stats: async (filter) => {
      const text = await get(`/stats?filter=${encodeURIComponent(filter)}`);
      const lines = text.split('\n').map((line) => /^(\S+): (\d+)$/.exec(line));
      return new Map(lines.flatMap((match) => (match === null ? [] : [[match[1] ?? '', Number(match[2])] as const])));
    },
    certificates: async () =>
      listAt(await getJson('/certs'), 'certificates').map((context) => ({
        trusted: listAt(context, 'ca_cert').map(readCertificate),
        chain: listAt(context, 'cert_chain').map(readCertificate),
      })),
    configDump: () => getJson('/config_dump'),
    port: async (listener) => {
      const statuses = listAt(await getJson('/listeners?format=json'), 'listener_statuses');
      const status = statuses.find((one) => at(one, 'name') === listener);
      const port = at(at(at(status, 'local_address'), 'socket_address'), 'port_value');
      if (typeof port !== 'number') throw new Error(`envoy has no listener ${listener}`);
      return port;
    },
  };
}

function readCertificate(value: unknown): EnvoyCertificate {
  const uriSans = listAt(value, 'subject_alt_names').flatMap((name) => {
    const uri = at(name, 'uri');
    return typeof uri === 'string' ? [uri] : [];
  });
  const serialNumber = String(at(value, 'serial_number')).toLowerCase().replace(/^0+/, '');
  return { serialNumber, uriSans, notAfter: new Date(String(at(value, 'expiration_time'))) };
}

/** Protobuf's JSON leaves out what is empty. */
function listAt(value: unknown, key: string): readonly unknown[] {
  const list = at(value, key);
  return Array.isArray(list) ? list : [];
}

function at(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined;
}

function requestText(socketPath: string, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath, path, agent: false, timeout: TIMEOUT_MS }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
        if (text.length > ANSWER_MAX) answer.destroy(new Error(`envoy's answer to ${path} is too long`));
      });
      answer.once('error', reject);
      answer.once('end', () => {
        const status = answer.statusCode ?? 0;
        if (status >= 200 && status < 300) resolve(text);
        else reject(new Error(`envoy answered ${path} with ${status}: ${text.slice(0, 200)}`));
      });
    });
    call.once('timeout', () => call.destroy(new Error(`envoy did not answer ${path} within ${TIMEOUT_MS} ms`)));
    call.once('error', reject);
    call.end();
  });
}
