import { z } from 'zod';
import { parseDuration } from '../mesh/duration.ts';

/**
 * One setting of `mesh-ca serve`. Its key is the field of `Settings`; flag, environment variable and YAML key follow from it
 * (`settingNames`). `schema` reads text, or a list of texts, as flags and the environment give it.
 */
export interface SettingRow<Schema extends z.ZodType = z.ZodType> {
  readonly schema: Schema;
  /** As a user would write it. A function where it follows from other settings; undefined: no value. */
  readonly default: string | readonly string[] | undefined | ((written: { readonly dataDir: string }) => string);
  /** The default in words, where `default` cannot be shown as it is. */
  readonly defaultForm?: string;
  /** What a value looks like, in words that follow "expected". */
  readonly form: string;
  readonly doc: string;
  /** A value may hold a password, or a token put there by mistake: it is not repeated in an error. */
  readonly hideValue?: boolean;
  /** Takes several values: comma-separated, a YAML list, or a repeated flag. */
  readonly list?: boolean;
}

const setting = <Schema extends z.ZodType>(row: SettingRow<Schema>): SettingRow<Schema> => row;

const path = z
  .string()
  .min(1)
  .max(4096)
  .regex(/^[^\0]+$/);
const port = z
  .string()
  .regex(/^\d{1,5}$/)
  .transform(Number)
  .pipe(z.number().max(65_535));
const HOST_FORM = 'a host name or an IP address without brackets, such as `127.0.0.1`, `::1` or `0.0.0.0`';
const host = z
  .string()
  .max(253)
  .regex(/^[A-Za-z0-9.:_-]+$/);
/** As Envoy asks for it. */
const SECRET_NAME_FORM = '1 to 253 printable characters without blanks';
const secretName = z
  .string()
  .min(1)
  .max(253)
  .regex(/^[\x21-\x7e]+$/);
const boolean = z.enum(['true', 'false']).transform((text) => text === 'true');

/** Milliseconds, from Kuma's duration grammar, within `least` and `most`. */
function duration(least: number, most: number) {
  return z.string().transform((text, context) => {
    const ms = parseDuration(text);
    if (ms !== undefined && ms >= least && ms <= most) return ms;
    context.addIssue({ code: 'custom', message: 'not a duration in range' });
    return z.NEVER;
  });
}

const RATE_FORM = 'a number of calls a second from 0.1 to 10000';
const rate = z
  .string()
  .regex(/^\d{1,5}(\.\d{1,3})?$/)
  .transform(Number)
  .pipe(z.number().min(0.1).max(10_000));

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const YEAR = 365 * DAY;
const GRAMMAR = 'a whole number and one of the units y, w, d, h, m, s, ms';

export const SETTINGS = {
  mode: setting({
    schema: z.literal('standalone'),
    default: 'standalone',
    form: '`standalone`: this version has no `global` or `zone` mode',
    doc: 'Part that this instance plays.',
  }),
  apiHost: setting({
    schema: host,
    default: '127.0.0.1',
    form: HOST_FORM,
    doc: 'Address that the HTTP API listens on.',
  }),
  apiPort: setting({
    schema: port,
    default: '5681',
    form: 'a whole number from 0 to 65535; 0 takes a free port',
    doc: 'Port of the HTTP API.',
  }),
  apiTlsCertFile: setting({
    schema: path.optional(),
    default: undefined,
    form: 'a path to a file with a PEM certificate and its chain',
    doc: 'Server certificate of the SDS port. Read again when it changes.',
    hideValue: true,
  }),
  apiTlsKeyFile: setting({
    schema: path.optional(),
    default: undefined,
    form: 'a path to a file with a PEM private key',
    doc: 'Its key. Both or none.',
    hideValue: true,
  }),
  sdsHost: setting({
    schema: host,
    default: '127.0.0.1',
    form: HOST_FORM,
    doc: "Address that Envoy's Secret Discovery Service (gRPC) listens on. One that is not loopback needs `apiTlsCertFile`.",
  }),
  sdsPort: setting({
    schema: z.union([z.literal('off').transform(() => undefined), port]),
    default: '5678',
    form: 'a whole number from 0 to 65535, or `off`; 0 takes a free port',
    doc: 'Port of the Secret Discovery Service.',
  }),
  sdsAuth: setting({
    schema: z.enum(['token', 'mtls', 'none']),
    default: 'token',
    form: '`token` (data plane token), `mtls` (client certificate under the roots of the mesh) or `none` (loopback only)',
    doc: 'How a proxy proves over SDS which data plane it is.',
  }),
  sdsIdentityName: setting({
    schema: secretName,
    default: 'identity_cert',
    form: SECRET_NAME_FORM,
    doc: 'Name of the SDS secret with certificate and key.',
  }),
  sdsTrustName: setting({
    schema: secretName,
    default: 'mesh_ca',
    form: SECRET_NAME_FORM,
    doc: 'Name of the SDS secret with the roots of the mesh.',
  }),
  dataDir: setting({
    schema: path.regex(/^(?!\/\/)[^?#]+$/),
    default: './data',
    form: 'a path to a folder, without `?` and `#`',
    doc: 'Folder of everything that mesh-ca keeps; made when missing.',
  }),
  store: setting({
    schema: z.string().regex(/^(memory:|sqlite:(\/\/\/)?[^/?#\0][^?#\0]*|sqlite:\/[^/?#\0][^?#\0]*)$/),
    default: ({ dataDir }) => `sqlite:${dataDir}/mesh-ca.db`,
    defaultForm: 'sqlite:<dataDir>/mesh-ca.db',
    form: '`sqlite:<path>`, `sqlite:///<absolute path>` or `memory:`',
    doc: 'Where resources and records are kept. `memory:` forgets everything at the end.',
    hideValue: true,
  }),
  storeKeyFile: setting({
    schema: path,
    default: ({ dataDir }) => `${dataDir}/store.key`,
    defaultForm: '<dataDir>/store.key',
    form: 'a path to a file',
    doc: 'Key that encrypts secrets in the store; made at first start with mode 0600.',
    hideValue: true,
  }),
  zoneName: setting({
    schema: z.string().regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/),
    default: 'default',
    form: 'a DNS label: lower-case letters, digits and `-`, at most 63 characters',
    doc: 'Zone of the data planes of this instance (tag `kuma.io/zone`).',
  }),
  product: setting({
    schema: z
      .string()
      .min(1)
      .max(64)
      .regex(/^[\x20-\x7e]+$/),
    default: 'Kuma',
    form: '1 to 64 printable characters, `Kuma` for kumactl or `Kong Mesh` for that of Kong Mesh',
    doc: 'Product name that `GET /` tells to kumactl.',
  }),
  localhostIsAdmin: setting({
    schema: boolean,
    default: 'true',
    form: '`true` or `false`',
    doc: 'Callers from this machine may do everything. Switch it off behind a reverse proxy: all its callers come from this machine.',
  }),
  apiTokenFile: setting({
    schema: path.optional(),
    default: undefined,
    form: 'a path to a file that holds one bearer token',
    doc: 'Callers with the token in this file may do everything, from anywhere.',
    hideValue: true,
  }),
  fileDataSourceDirs: setting({
    schema: z.array(path).max(64),
    default: [],
    form: 'paths to folders, separated by commas',
    doc: '`file` data sources may read below these folders; none: they are refused.',
    list: true,
  }),
  certificateProfile: setting({
    schema: z.enum(['kuma', 'spiffe']),
    default: 'kuma',
    form: '`kuma` (all identities and tags) or `spiffe` (exactly one SPIFFE ID)',
    doc: 'URI SANs of a data plane certificate.',
  }),
  dpCertExpirationMs: setting({
    schema: duration(MINUTE, 10 * YEAR),
    default: '30d',
    form: `${GRAMMAR}, from 1m to 10y, such as \`30d\``,
    doc: 'Lifetime of a data plane certificate when its backend sets no `dpCert.rotation.expiration`.',
  }),
  dpKeyType: setting({
    schema: z.enum(['EC-P256', 'RSA-2048']),
    default: 'EC-P256',
    form: '`EC-P256` or `RSA-2048`',
    doc: 'Key that mesh-ca makes for a data plane that sends no CSR.',
  }),
  dataplaneOnlineForMs: setting({
    schema: duration(SECOND, YEAR),
    default: '5m',
    form: `${GRAMMAR}, from 1s to 1y, such as \`5m\``,
    doc: 'A data plane counts as online for this long after its last request.',
  }),
  rotationSettleMs: setting({
    schema: duration(0, HOUR),
    default: '30s',
    form: `${GRAMMAR}, up to 1h, such as \`30s\``,
    doc: 'A certificate that was answered over HTTP counts as in use after this time, or as soon as its data plane sends it as `current`. Over SDS the ACK counts.',
  }),
  builtinRootRenewal: setting({
    schema: boolean,
    default: 'false',
    form: '`true` or `false`',
    doc: 'A builtin root in the last 20 % of its life is rotated to a new generation by itself.',
  }),
  requestTimeoutMs: setting({
    schema: duration(100, 10 * MINUTE),
    default: '30s',
    form: `${GRAMMAR}, from 100ms to 10m, such as \`30s\``,
    doc: 'Longest time that issuing one certificate may take, backend calls included.',
  }),
  backoffBaseMs: setting({
    schema: duration(100, HOUR),
    default: '5s',
    form: `${GRAMMAR}, from 100ms to 1h, such as \`5s\``,
    doc: 'A data plane whose certificate failed is not tried again for about this long; twice as long after each further failure. A backend that is held back as a whole waits as long.',
  }),
  backoffMaxMs: setting({
    schema: duration(100, DAY),
    default: '5m',
    form: `${GRAMMAR}, from 100ms to 1d, such as \`5m\``,
    doc: 'Longest such wait.',
  }),
  breakerDataplanes: setting({
    schema: z
      .string()
      .regex(/^\d{1,5}$/)
      .transform(Number)
      .pipe(z.number().min(1)),
    default: '10',
    form: 'a whole number from 1 to 99999',
    doc: 'A backend is held back as a whole when it failed for so many different data planes in a row.',
  }),
  recoverySpreadMs: setting({
    schema: duration(0, DAY),
    default: '60s',
    form: `${GRAMMAR}, such as \`60s\``,
    doc: 'After a backend was held back, renewals that are not urgent are spread over this time.',
  }),
  canaryIntervalMs: setting({
    schema: duration(0, YEAR),
    default: '5m',
    form: `${GRAMMAR}, such as \`5m\`; 0 switches it off`,
    doc: 'How often each backend is proven by a test certificate.',
  }),
  canaryBilledIntervalMs: setting({
    schema: duration(0, YEAR),
    default: '0s',
    form: `${GRAMMAR}, such as \`1d\`; 0 switches it off`,
    doc: 'The same for backends where every certificate costs money (`acmpca`).',
  }),
  vaultTokenChangeCheckIntervalMs: setting({
    schema: duration(0, YEAR),
    default: '30s',
    form: `${GRAMMAR}, such as \`30s\`; 0 switches it off`,
    doc: "How often a Vault backend's token is read again from its file or secret. A change of a secret made through this mesh-ca is followed at once.",
  }),
  acmpcaIssuesPerSecond: setting({
    schema: rate,
    default: '25',
    form: RATE_FORM,
    doc: 'IssueCertificate calls a second to one AWS account and region, over all meshes. AWS grants 25 unless your quota was raised.',
  }),
  acmpcaGetsPerSecond: setting({
    schema: rate,
    default: '75',
    form: RATE_FORM,
    doc: 'GetCertificate calls a second to one AWS account and region, over all meshes. AWS grants 75 unless your quota was raised.',
  }),
  systemNamespace: setting({
    schema: z.string().regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/),
    default: 'kong-mesh-system',
    form: 'a Kubernetes namespace: lower-case letters, digits and `-`, at most 63 characters',
    doc: 'Where CertificateRequests of `certmanager` backends are made, and where an `Issuer` lives.',
  }),
  podName: setting({
    schema: z
      .string()
      .max(253)
      .regex(/^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$/),
    default: '',
    form: 'the name of a Pod',
    doc: 'Pod that mesh-ca runs in (`metadata.name` by the downward API), if that is in the system namespace: it owns the CertificateRequests, which go when it goes.',
  }),
  podUid: setting({
    schema: z
      .string()
      .max(64)
      .regex(/^[A-Za-z0-9-]*$/),
    default: '',
    form: 'the UID of a Pod',
    doc: 'UID of that Pod (`metadata.uid`). Both or none.',
  }),
  shutdownTimeoutMs: setting({
    schema: duration(0, 10 * MINUTE),
    default: '10s',
    form: `${GRAMMAR}, up to 10m, such as \`10s\``,
    doc: 'Longest wait for answers under way when mesh-ca is told to stop.',
  }),
  logLevel: setting({
    schema: z.enum(['debug', 'info', 'warn', 'error']),
    default: 'info',
    form: '`debug`, `info`, `warn` or `error`',
    doc: 'Least severity that is logged (JSON lines on standard output).',
  }),
} as const;

export type SettingKey = keyof typeof SETTINGS;

/** What `mesh-ca serve` runs with. Complete and checked; durations are in milliseconds and say so in their names. */
export type Settings = { readonly [Key in SettingKey]: z.output<(typeof SETTINGS)[Key]['schema']> };

export const SETTING_KEYS = Object.keys(SETTINGS) as readonly SettingKey[];

export interface SettingNames {
  /** `--api-port` */
  readonly flag: string;
  /** What commander calls it: `apiPort`. */
  readonly option: string;
  /** `MESH_CA_API_PORT` */
  readonly env: string;
  /** `apiPort` */
  readonly yaml: string;
}

/** The three names under which a user writes a setting. The unit at the end of a duration's key belongs to the program, not to the user. */
export function settingNames(key: SettingKey): SettingNames {
  const yaml = key.replace(/Ms$/, '');
  const words = yaml.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  return { flag: `--${words}`, option: yaml, env: `MESH_CA_${words.replaceAll('-', '_').toUpperCase()}`, yaml };
}
