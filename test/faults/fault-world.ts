import type { TcpProxy } from '../support/tcp-proxy.ts';
import type { TestApp } from '../support/test-app.ts';

export type BackendType = 'vault' | 'acmpca' | 'certmanager';

/** Faults that only the server itself can have; those of the network are the proxy's. */
const SERVER_FAULTS = [
  'wrong key',
  'foreign root',
  'expired CA',
  'clock ahead',
  'clock behind',
  'throttled',
  'credentials revoked',
  'restarted, same CA',
  'restarted, new CA',
  'unwell',
  'answer lost',
  'answer truncated',
  'answer is a page',
] as const;
export type ServerFaultName = (typeof SERVER_FAULTS)[number];

/** What a fault may need of the run around it. */
export interface Stage {
  readonly test: TestApp;
}

/** Both resolve when the fault is really there, or really over. */
export interface ServerFault {
  begin(stage: Stage): Promise<void>;
  end(stage: Stage): Promise<void>;
}

/** What has reached the wire or the server since the world was made. */
export interface Calls {
  /** Calls that ask for a certificate. */
  readonly issuing: number;
  /** All calls, those included. */
  readonly all: number;
  /** `issuing` by the service that the certificate is for, as far as the calls tell. */
  readonly byService: ReadonlyMap<string, number>;
}

/** A backend of one type behind a proxy of ours, with everything that mesh-ca needs to use it. */
export interface FaultWorld {
  readonly type: BackendType;
  /** What stands behind the proxy, for the table. */
  readonly server: string;
  readonly proxy: TcpProxy;
  /** `conf` of the backend; its address is the proxy's. */
  readonly conf: object;
  /** Secrets of the mesh by name, as they are now. */
  secrets(): ReadonlyMap<string, string>;
  /** Absent: this world cannot show it. */
  readonly faults: Readonly<Partial<Record<ServerFaultName, ServerFault>>>;
  calls(): Promise<Calls>;
  /** Texts that must stand in no answer and in no line of the log: tokens, keys, passwords, also former ones. */
  sensitive(): readonly string[];
  /** What mesh-ca made on the server and did not take away. Empty where it makes nothing but certificates. */
  leftovers(): Promise<readonly string[]>;
  /** Idempotent. */
  close(): Promise<void>;
}

export const MESH = 'default';
export const BACKEND = 'external-1';
const SERVICE_PREFIX = `spiffe://${MESH}/`;

/** The service of each data plane is its own, so that a call tells which certificate it is for. */
export const serviceSan = (service: string): string => `${SERVICE_PREFIX}${service}`;

/** The service that URI SANs are for. */
export function serviceOf(uriSans: readonly string[]): string | undefined {
  return uriSans.find((san) => san.startsWith(SERVICE_PREFIX))?.slice(SERVICE_PREFIX.length);
}

/** Stores a secret of the mesh through the front door. */
export async function putSecret(test: TestApp, name: string, value: string): Promise<void> {
  const data = Buffer.from(value).toString('base64');
  await test.ok('PUT', `/meshes/${MESH}/secrets/${name}`, { type: 'Secret', mesh: MESH, name, data });
}

export const CLOCK_OFF_MS = 600_000;

/** A fault that is one switch of a fake. */
export const flip = (turn: (isOn: boolean) => void): ServerFault => ({
  begin: async () => turn(true),
  end: async () => turn(false),
});
