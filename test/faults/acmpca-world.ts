import { parseCsr } from '../../src/x509/csr.ts';
import { decodePem } from '../../src/x509/pem.ts';
import { startStrictAcmPca } from '../fakes/acmpca/strict-acmpca.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { createCallCounter } from './call-counter.ts';
import { CLOCK_OFF_MS, type FaultWorld, flip, serviceOf } from './fault-world.ts';
import type { ReadRequest } from './request-reader.ts';

const SECRETS = { key: 'aws-access-key', secret: 'aws-access-key-secret' } as const;

/** The strict fake of AWS Private CA, over plain HTTP. Without caCert: what AWS tells is the root. */
export async function startAcmPcaWorld(): Promise<FaultWorld> {
  const pca = await startStrictAcmPca();
  const { hostname, port } = new URL(pca.endpoint);
  const counter = createCallCounter(serviceAskedFor);
  const proxy = await startTcpProxy({ host: hostname, port: Number(port) }, { observe: counter.observe });
  const restart = (meanwhile: () => Promise<void>) => ({
    async begin() {
      await proxy.set({ kind: 'refuse' });
      await pca.stop();
    },
    async end() {
      await meanwhile();
      await pca.start();
    },
  });
  let closed: Promise<void> | undefined;
  return {
    type: 'acmpca',
    server: 'strict fake',
    proxy,
    conf: {
      arn: pca.ca.arn,
      endpoint: `http://${proxy.host}:${proxy.port}`,
      auth: {
        awsCredentials: { accessKey: { secret: SECRETS.key }, accessKeySecret: { secret: SECRETS.secret } },
      },
    },
    secrets: () =>
      new Map([
        [SECRETS.key, pca.user.accessKeyId],
        [SECRETS.secret, pca.user.secretAccessKey],
      ]),
    faults: {
      'wrong key': flip((isOn) => {
        pca.ca.wrongKey = isOn;
      }),
      'foreign root': flip((isOn) => {
        pca.ca.foreignRoot = isOn;
      }),
      'expired CA': flip((isOn) => {
        pca.ca.state = isOn ? 'EXPIRED' : 'ACTIVE';
      }),
      'clock ahead': flip((isOn) => {
        pca.clockOffsetMs = isOn ? CLOCK_OFF_MS : 0;
      }),
      'clock behind': flip((isOn) => {
        pca.clockOffsetMs = isOn ? -CLOCK_OFF_MS : 0;
      }),
      throttled: flip((isOn) => {
        pca.throttleAll = isOn;
      }),
      'credentials revoked': flip((isOn) => {
        pca.user.isActive = !isOn;
      }),
      'restarted, same CA': restart(async () => {}),
      'restarted, new CA': restart(() => pca.ca.replace()),
      unwell: flip((isOn) => {
        pca.fault = () => (isOn ? { status: 500, body: '{"__type":"InternalFailure"}' } : undefined);
      }),
    },
    calls: counter.calls,
    // The access key's id is a name, told to everybody who may list keys.
    sensitive: () => [pca.user.secretAccessKey],
    leftovers: async () => [],
    close() {
      closed ??= proxy.close().then(pca.close);
      return closed;
    },
  };
}

/** The service in the CSR of an IssueCertificate. */
function serviceAskedFor({ headers, body }: ReadRequest): string | undefined {
  if (headers.get('x-amz-target') !== 'ACMPrivateCA.IssueCertificate') return undefined;
  const { Csr: csr } = JSON.parse(body);
  const [block] = decodePem(Buffer.from(String(csr), 'base64').toString('latin1'));
  return serviceOf(parseCsr(block?.der ?? Buffer.alloc(0)).uriSans);
}
