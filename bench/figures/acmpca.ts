import { startStrictAcmPca } from '../../test/fakes/acmpca/strict-acmpca.ts';
import { askForCertificates } from '../ask.ts';
import type { Bench } from '../bench.ts';
import type { Figure } from '../figure.ts';
import { startMeshCa } from '../mesh-ca.ts';
import { putMesh, putSecret } from '../meshes.ts';

const MESHES = ['orders', 'billing'];
/** AWS's own quota, which the strict fake enforces and mesh-ca keeps to. */
const PER_SECOND = 25;
/** As long as AWS takes, as far as users tell: most are ready in half a second, some in two. */
const readyAfterMs = (index: number): number => 300 + ((index * 37) % 11) * 60 + (index % 20 === 0 ? 1200 : 0);

/** Two meshes of one AWS account ask at once, with more callers than the quota can serve: the limiter of mesh-ca has to share it out. */
export async function measureAcmPca(bench: Bench): Promise<Figure> {
  const aws = await startStrictAcmPca({ readyAfterMs });
  bench.cleanup.add(aws.close);
  const meshCa = await startMeshCa(bench, await bench.makeFolder(), {
    env: { AWS_ENDPOINT_URL_ACM_PCA: aws.endpoint },
  });
  for (const mesh of MESHES) {
    await putMesh(meshCa, mesh, undefined);
    await putSecret(meshCa, mesh, 'access-key', aws.user.accessKeyId);
    await putSecret(meshCa, mesh, 'access-key-secret', aws.user.secretAccessKey);
    const auth = {
      awsCredentials: { accessKey: { secret: 'access-key' }, accessKeySecret: { secret: 'access-key-secret' } },
    };
    // A test certificate would be on the bill, and come before the time that is measured.
    await putMesh(meshCa, mesh, { type: 'acmpca', conf: { arn: aws.ca.arn, auth } }, { skipValidation: true });
  }
  bench.say('acmpca: two meshes, one account');
  const seconds = bench.effort.acmpcaSeconds;
  const asked = await Promise.all(
    MESHES.map((mesh) =>
      askForCertificates({
        address: () => meshCa.address,
        ...{ mesh, count: Math.ceil((PER_SECOND * seconds) / MESHES.length), callers: 40, tries: 100, csrs: [] },
      }),
    ),
  );
  const issued = aws.counts('IssueCertificate');
  const got = aws.counts('GetCertificate');
  const total = asked.reduce((sum, one) => sum + one.issued, 0);
  // From the first call to the last: what comes before and after is not the quota's.
  const at = aws.calls.filter(({ operation }) => operation === 'IssueCertificate').map(({ atMs }) => atMs);
  const issuingSeconds = ((at.at(-1) ?? 0) - (at[0] ?? 0)) / 1000;
  const perSecond = (at.length - 1) / issuingSeconds;
  await meshCa.stop();
  await aws.close();
  const throttled = issued.throttled + got.throttled;
  return {
    name: 'acmpca',
    measurements: [
      {
        name: 'acmpca, two meshes, one AWS account',
        certificatesPerSecond: perSecond,
        p50Ms: Math.max(...asked.map(({ p50Ms }) => p50Ms)),
        p99Ms: Math.max(...asked.map(({ p99Ms }) => p99Ms)),
        details: {
          asked,
          issueCalls: issued,
          getCalls: got,
          getsPerCertificate: got.calls / total,
          billed: aws.issuedCount,
        },
      },
    ],
    comparisons: [
      { name: 'certificates a second, of 25', value: perSecond, unit: '/s', target: { over: 24 } },
      { name: 'throttled by AWS', value: throttled, unit: '', target: { under: 1 } },
      { name: 'billed beyond what was asked', value: aws.issuedCount - total, unit: '', target: { under: 1 } },
    ],
  };
}
